"""Few labelled and many unlabelled digits in one resumed run; test_data_parallel has two processes."""

import pytest

from tests.distil import distil, plain, teacher  # noqa: F401  (fixtures)
from tests.distillers.test_sskd_training import bytes_of
from tests.distillers.test_unlabelled_losses import HEADS, UNLABELLED

pytest.importorskip('mmpretrain')
pytest.importorskip('sklearn')

METHODS = dict(
    sskd=(dict(type='mmkd.SSKD'), dict(stages=['layer2', 'layer4', 'head'])),
    kd=(dict(type='mmkd.KD'), {}),
    mhkd=(dict(type='mmkd.MHKD', heads=HEADS), dict(stages=['layer1', 'all'])),
    feature_kd=(dict(type='mmkd.FeatureKD'), {}),
)
ITERATIONS = {
    'train_cfg': dict(by_epoch=False, max_iters=12, val_interval=4),
    'train_dataloader.sampler': dict(type='InfiniteSampler', shuffle=True),
    'param_scheduler': dict(type='CosineAnnealingLR', by_epoch=False),
    'default_hooks.checkpoint': dict(type='CheckpointHook', by_epoch=False, interval=1),
}


@pytest.mark.parametrize('method', METHODS)
def test_resume_ends_byte_for_byte_where_the_uninterrupted_run_ends(distil, tmp_path, method):  # noqa: F811
    model, hook = METHODS[method]
    changes = dict(unlabelled_dataloader=UNLABELLED)
    whole = distil('whole', hook, model, **changes)
    whole.train()
    path = str(tmp_path / 'whole' / 'epoch_3.pth')  # in SSKD's second stage
    resumed = distil('resumed', hook, model, resume=True, load_from=path, **changes)
    resumed.train()
    assert bytes_of(resumed.model.student) == bytes_of(whole.model.student)
    without = distil('without', hook, model)
    without.train()
    assert bytes_of(without.model.student) != bytes_of(whole.model.student)


@pytest.mark.parametrize('changes', [ITERATIONS, {'optim_wrapper.accumulative_counts': 2, 'randomness.seed': None}])
def test_resume_of_iteration_loops_and_between_steps_of_the_optimizer(distil, tmp_path, changes):  # noqa: F811
    hook, changes = dict(stages=['layer2', 'head']), {**changes, 'unlabelled_dataloader': UNLABELLED}
    whole = distil('whole', hook, **changes)
    whole.train()
    path = str(tmp_path / 'whole' / ('iter_3.pth' if 'train_cfg' in changes else 'epoch_2.pth'))
    resumed = distil('resumed', hook, resume=True, load_from=path, **changes)
    resumed.train()
    assert bytes_of(resumed.model.student) == bytes_of(whole.model.student)
