"""Two processes, interrupted inside a stage, end like uninterrupted ones; norms see each process's own batches."""

import copy

import pytest
import torch

from tests.conftest import ROOT
from tests.distil import distillation, plain, teacher, without_chance  # noqa: F401  (fixtures)
from tests.processes import run_two

pytest.importorskip('mmpretrain')
pytest.importorskip('sklearn')
pytestmark = pytest.mark.skipif(torch.cuda.is_available(), reason='gloo on CPUs is what is tested')

ITERATIONS = {
    'train_cfg': dict(by_epoch=False, max_iters=10, val_interval=4),
    'train_dataloader.sampler': dict(type='InfiniteSampler', shuffle=True),
    'param_scheduler': dict(type='CosineAnnealingLR', by_epoch=False),
    'default_hooks.checkpoint': dict(type='mmkd.SafeCheckpointHook', by_epoch=False, interval=5),
}


@pytest.fixture(scope='module')
def ends(plain, teacher, tmp_path_factory):  # noqa: F811
    """The students that both ranks end with, by the name of the run."""
    folder = tmp_path_factory.mktemp('resume')
    network, _ = without_chance(plain)
    for key in ('val_cfg', 'val_dataloader', 'val_evaluator'):
        network[key] = copy.deepcopy(plain[key])
    network.train_dataloader.batch_size = 8
    network.train_dataloader.dataset.indices = 32
    network.train_dataloader.dataset.pipeline.insert(1, dict(type='RandomFlip', prob=0.5))  # each rank draws by itself
    network.randomness = dict(seed=0, diff_rank_seed=True)
    network.default_hooks.checkpoint = dict(type='mmkd.SafeCheckpointHook', interval=2)
    network.default_hooks.preemption = dict(type='mmkd.PreemptionHook')  # a checkpoint lies between those two
    stages = dict(stages=['layer2', 'head'], score_teacher=False)

    def write(name: str, checkpoint: str, hook: dict, **changes) -> None:
        for run, path in ((name, None), (f'{name}_resumed', str(folder / name / checkpoint))):
            cfg = distillation(network, teacher, folder / run, hook, **changes, resume=bool(path), load_from=path)
            torch.save(cfg.to_dict(), folder / f'{run}.case')

    write('epochs', 'epoch_2.pth', dict(stages, lengths=[3, 1]))
    write('best', 'epoch_2.pth', dict(stages, lengths=[3, 1], keep_best=True), **{'optim_wrapper.optimizer.lr': 0.9})
    write('iterations', 'iter_5.pth', dict(stages, lengths=[8, 2]), **ITERATIONS)
    write('label_free', 'epoch_2.pth', dict(stages=['layer2', 'layer4'], lengths=[1, 3], score_teacher=False))
    run_two(ROOT / 'tests' / 'integration' / 'two_processes.py', folder)
    names = [path.stem for path in folder.glob('*.case')]
    return {
        name: [torch.load(folder / f'{name}.rank{rank}', weights_only=False)['state'] for rank in (0, 1)]
        for name in names
    }


@pytest.mark.parametrize('name', ['epochs', 'best', 'iterations', 'label_free'])
def test_a_run_resumed_inside_a_stage_ends_as_the_uninterrupted_one(ends, name):
    for whole, resumed in zip(ends[name], ends[f'{name}_resumed'], strict=True):
        assert [key for key, value in whole.items() if not torch.equal(value, resumed[key])] == []


def test_without_labels_both_ranks_end_with_the_same_new_head(ends):
    one, other = ends['label_free']
    for key in ('head.fc.weight', 'head.fc.bias'):
        assert torch.equal(one[key], other[key])
    assert one['head.fc.bias'].abs().max() > 0  # as initialised
