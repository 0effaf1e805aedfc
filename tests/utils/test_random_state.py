import contextlib
import random
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.runner import EpochBasedTrainLoop, IterBasedTrainLoop
from mmengine.runner.loops import _InfiniteDataloaderIterator
from torch.utils.data import DataLoader, Dataset

from mmkd.utils.random_state import (
    get_random_state,
    own_randomness,
    resume_randomness,
    set_random_state,
    state_for_resume,
)


def draw():
    return torch.rand(3).tolist(), np.random.rand(), np.random.randn(), random.random()


def test_own_randomness_leaves_no_trace():
    torch.manual_seed(0)
    np.random.randn()  # numpy caches a second normal number
    before = get_random_state()
    expected = draw()
    set_random_state(before)
    with own_randomness():
        draw()
        torch.manual_seed(5)
        random.seed(5)
        np.random.seed(5)
    assert draw() == expected
    set_random_state(before)
    with contextlib.suppress(KeyError), own_randomness():
        draw()
        raise KeyError
    assert draw() == expected


@pytest.mark.parametrize('map_location', ['cpu', 'meta'])  # torch needs its state on the CPU
def test_state_survives_a_checkpoint(tmp_path, map_location):
    np.random.randn()
    torch.save(dict(mmkd=dict(random=get_random_state())), tmp_path / 'epoch_1.pth')
    expected = draw()
    loaded = torch.load(tmp_path / 'epoch_1.pth', weights_only=True, map_location=map_location)
    set_random_state(loaded['mmkd']['random'])
    assert draw() == expected


def test_a_state_of_the_gpu_is_no_hindrance_without_one():
    if torch.cuda.is_available():
        pytest.skip('there is one')
    set_random_state(dict(get_random_state(), cuda=[0] * 16))


class Noise(Dataset):
    def __len__(self):
        return 6

    def __getitem__(self, index):
        return dict(inputs=torch.rand(2) + index, noise=np.random.rand() + random.random())


class Skippable(torch.utils.data.SequentialSampler):
    def skip(self, count):
        self.skipped = count

    def __iter__(self):
        while True:
            yield from range(getattr(self, 'skipped', 0) % 6, 6)
            self.skipped = 0


class Runner:
    """The parts of a Runner that a loop needs; records what its model sees, and the random states in checkpoints."""

    visualizer = SimpleNamespace()
    optim_wrapper = None
    val_loop = None

    def __init__(self, loop, sampler=None, dynamic=None, best=(), **cfg):
        self.seen, self.checkpoints, self.resumed = [], {}, None
        self.model = SimpleNamespace(train=lambda: None, train_step=self.train_step)
        self.by_epoch, self.best = issubclass(loop, EpochBasedTrainLoop), best
        data = Noise()
        loader = DataLoader(data, batch_size=2, sampler=sampler and sampler(data))
        self.train_loop = loop(self, loader, dynamic_intervals=dynamic, **cfg)
        self.val_loop = SimpleNamespace(run=self.validate)

    @property
    def epoch(self):
        return self.train_loop.epoch

    @property
    def iter(self):
        return self.train_loop.iter

    def train_step(self, data, optim_wrapper):
        self.seen.append((data['inputs'].tolist(), data['noise'].tolist(), torch.rand(1).item()))

    def validate(self):
        next(iter(DataLoader([1, 2])))
        if (self.epoch if self.by_epoch else self.iter) in self.best:  # CheckpointHook saves again for its message hub
            self.save(dict(epoch=self.epoch, iter=self.iter))

    def save(self, meta):
        done = meta['epoch' if self.by_epoch else 'iter']
        self.checkpoints[done] = state_for_resume(self, dict(meta=meta)), len(self.seen), meta

    def call_hook(self, name, **kwargs):
        if name == 'after_train_epoch' and self.by_epoch:
            self.save(dict(epoch=self.epoch + 1, iter=self.iter))
        if name == 'after_train_iter' and not self.by_epoch:
            self.save(dict(epoch=self.epoch, iter=self.iter + 1))
        if name == 'before_train' and self.resumed is not None:
            resume_randomness(self, self.resumed)


def check_resume(positions, *args, **cfg):
    torch.manual_seed(1)
    np.random.seed(1)
    random.seed(1)
    whole = Runner(*args, **cfg)
    whole.train_loop.run()
    for position in positions:
        draw()
        resumed = Runner(*args, **cfg)
        resumed.resumed, seen, meta = whole.checkpoints[position]
        resumed.train_loop._epoch, resumed.train_loop._iter = meta['epoch'], meta['iter']
        resumed.train_loop.run()
        assert resumed.seen == whole.seen[seen:], position
        assert resumed.seen


@pytest.mark.parametrize('best', [(), (4,)])
def test_resume_at_epoch_ends(best):
    check_resume(range(1, 7), EpochBasedTrainLoop, max_epochs=7, val_begin=3, val_interval=2, best=best)


def test_resume_at_epoch_ends_with_dynamic_intervals():
    check_resume(range(1, 7), EpochBasedTrainLoop, max_epochs=7, val_interval=3, dynamic=[(5, 1)])


@pytest.mark.parametrize('best', [(), (4,)])
@pytest.mark.parametrize('sampler', [None, Skippable])
def test_resume_at_iterations(sampler, best, monkeypatch):
    monkeypatch.setattr('time.sleep', lambda seconds: None)
    cfg = dict(max_iters=8, val_begin=3, val_interval=2)
    check_resume(range(1, 8), IterBasedTrainLoop, sampler=sampler, best=best, **cfg)


@pytest.mark.skipif(not hasattr(_InfiniteDataloaderIterator, 'skip_iter'), reason='is what is imitated')
def test_resume_where_mmengine_skips_by_reading(monkeypatch):
    class Reading:
        """The iterator in OpenMMLab's own mmengine."""

        def __init__(self, loader):
            self.loader, self.iterator = loader, iter(loader)

        def __next__(self):
            try:
                return next(self.iterator)
            except StopIteration:
                self.iterator = iter(self.loader)
                return next(self.iterator)

    class Loop(IterBasedTrainLoop):
        def run(self):
            inner = self.runner.call_hook

            def call_hook(name, **kwargs):
                inner(name, **kwargs)
                if name == 'before_train':  # its loop does this directly afterwards
                    for _ in range(self._iter):
                        next(self.dataloader_iterator)
                    self.fast_forward_on_resume = True

            self.runner.call_hook = call_hook
            super().run()

    monkeypatch.setattr('mmengine.runner.loops._InfiniteDataloaderIterator', Reading)
    check_resume(range(1, 8), Loop, max_iters=8, val_begin=3, val_interval=2)
