"""Whole trainings with iterations replayed from graphs end like trainings without, bit for bit."""

import copy

import pytest
import torch
from mmengine.hooks import Hook

from mmkd.acceleration.iteration_graphs import GraphedIterations
from tests.acceleration.recorded_graph import RecordedGraph
from tests.distil import distil, plain, teacher  # noqa: F401  (fixtures)

SGD = dict(type='SGD', lr=0.05, momentum=0.9)
CASES = {  # an epoch has 4 iterations; the first 3 after a validation are warm-up
    'SSKD': dict(hook=dict(stages=['layer2', 'layer4', 'head'], lengths=[2, 2, 4])),
    'SSKD, everything in the end': dict(hook=dict(stages=['layer3'], lengths=[8], unfreeze_last=False)),
    'KD': dict(model=dict(type='mmkd.KD')),
    'FeatureKD': dict(model=dict(type='mmkd.FeatureKD')),
    'MHKD': {
        'model': dict(type='mmkd.MHKD', heads=dict(type='mmkd.AuxiliaryHead', width=8), soft_until=0.6),
        'hook': dict(stages=['teacher_heads', 'all']),
        'train_cfg.val_interval': 8,  # soft targets end while a graph exists
    },
    'averaged weights, clipped': dict(
        model=dict(type='mmkd.KD'),
        custom_hooks=[dict(type='EMAHook')],
        optim_wrapper=dict(type='OptimWrapper', optimizer=SGD, clip_grad=dict(max_norm=1)),
    ),
    'terms that warm up and end': {  # a share of the weight that grows is another one in each iteration
        'model': dict(
            type='mmkd.FeatureKD',
            terms=dict(
                hint=dict(loss=dict(type='mmkd.ATLoss'), places=['layer2'], weight=30.0, warm_up=0.3),
                soft=dict(loss=dict(type='mmkd.SoftTargetLoss'), places='scores', warm_up=0.2, until=0.65),
            ),
        ),
        'hook': dict(stages=['all']),
        'train_cfg.val_interval': 8,
    },
    "the optimizer's step inside": {
        'hook': dict(stages=['layer2', 'layer4', 'head'], lengths=[2, 2, 4]),
        'optim_wrapper': dict(type='OptimWrapper', optimizer=dict(SGD, lr=0.0625, fused=True)),
    },
    'a smaller last batch': {
        'hook': dict(stages=['layer1', 'head'], lengths=[3, 5]),
        'train_dataloader.dataset.indices': 72,
        'train_dataloader.drop_last': False,
    },
    'frozen_dtype': dict(model=dict(frozen_dtype='bfloat16'), hook=dict(stages=['layer2', 'head'], lengths=[4, 4])),
}


class Watch(Hook):
    """The losses, and the number of iterations replayed from a graph."""

    def __init__(self):
        self.losses, self.replayed = [], 0

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        graphs = runner.model.acceleration.graphs
        self.replayed += graphs is not None and graphs.captured is not None

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.losses.append({name: value.clone() for name, value in outputs.items()})


@pytest.mark.parametrize('case', CASES)
def test_the_same_to_the_last_bit(distil, case):  # noqa: F811
    watches, states = [], []
    for graphs in (None, GraphedIterations(RecordedGraph)):
        changes = {'train_cfg.val_interval': 3, 'default_hooks.checkpoint': None, **copy.deepcopy(CASES[case])}
        runner = distil(f'run-{graphs is None}', **changes)
        runner.model.acceleration.graphs = graphs
        watches.append(Watch())
        runner.register_hook(watches[-1])
        runner.train()
        states.append({**runner.model.state_dict(), **runner.model.extras.state_dict()})
    assert not watches[0].replayed
    assert watches[1].replayed > 6
    for one, other in zip(*(watch.losses for watch in watches), strict=True):
        assert list(one) == list(other)
        assert all(torch.equal(one[name], other[name]) for name in one)
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_a_resumed_run_ends_as_the_whole_one(distil, tmp_path):  # noqa: F811
    def run(folder: str, **changes) -> dict:
        runner = distil(folder, hook=dict(stages=['layer1', 'head'], lengths=[3, 5]), **changes)
        runner.model.acceleration.graphs = GraphedIterations(RecordedGraph)
        runner.train()
        return runner.model.state_dict()

    whole = run('whole')
    resumed = run('resumed', resume=True, load_from=str(tmp_path / 'whole' / 'epoch_5.pth'))
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_whoever_changes_weights_drops_the_graph(distil):  # noqa: F811
    runner = distil(hook=dict(stages=['layer1', 'head'], lengths=[3, 5]))
    runner.call_hook('before_run')
    distiller = runner.model
    distiller.acceleration.graphs = GraphedIterations(RecordedGraph)
    acts = (
        lambda: distiller.enter(['layer1']),
        lambda: distiller.train(False),
        lambda: distiller.train(True),
        lambda: distiller.load_state_dict(distiller.state_dict()),
        lambda: distiller.float(),
    )
    for act in acts:
        distiller.acceleration.graphs.captured = object()
        act()
        assert distiller.acceleration.graphs.captured is None
    distiller.acceleration.graphs.captured = object()
    distiller.train(True)  # every epoch does this
    assert distiller.acceleration.graphs.captured is not None


def test_a_loss_that_asks_for_places_of_images_goes_the_plain_way(distil, monkeypatch):  # noqa: F811
    """Only the host knows them; a graph would read those of the first batch for ever."""
    said = []
    monkeypatch.setattr('mmkd.acceleration.iteration_graphs.print_log', lambda text, **_: said.append(text))
    crd = dict(loss=dict(type='mmkd.CRDLoss', negatives=8), places=['embedding'])
    runner = distil(hook=dict(stages=['all']), model=dict(type='mmkd.FeatureKD', terms=dict(hint=crd)))
    runner.model.acceleration.graphs = GraphedIterations(RecordedGraph)
    watch = Watch()
    runner.register_hook(watch)
    runner.train()
    assert not watch.replayed
    (sentence,) = said
    assert "since a loss asks for images' places in the training set" in sentence


def test_images_without_labels_go_the_plain_way(distil, monkeypatch):  # noqa: F811
    said = []
    monkeypatch.setattr('mmkd.acceleration.iteration_graphs.print_log', lambda text, **_: said.append(text))
    runner = distil(model=dict(type='mmkd.KD'))
    runner.model.acceleration.graphs = GraphedIterations(RecordedGraph)
    runner.cfg.unlabelled_dataloader = copy.deepcopy(runner.cfg.train_dataloader)
    runner.cfg.unlabelled_dataloader.dataset.indices = 32
    runner.cfg.unlabelled_dataloader.batch_size = 8
    watch = Watch()
    runner.register_hook(watch)
    runner.train()
    assert not watch.replayed
    (sentence,) = said
    assert 'since images without labels lie beside the batch' in sentence
