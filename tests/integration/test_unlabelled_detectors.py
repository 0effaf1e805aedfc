"""Detectors learn from images without boxes, here larger ones, beside the labelled ones."""

import pytest
import torch
from mmengine.hooks import Hook

from tests.distil_detectors import KINDS

METHODS = dict(
    sskd=(dict(type='mmkd.SSKD'), {}),
    soft_sskd=(dict(type='mmkd.SSKD', alpha=0.7), {}),
    feature_kd=(dict(type='mmkd.FeatureKD'), dict(stages=None, lengths=None)),
    kd=(dict(type='mmkd.KD'), dict(stages=None, lengths=None)),
    mhkd=(dict(type='mmkd.MHKD'), dict(stages=['layer2', 'all'], lengths=[2, 4])),
)


class Seen(Hook):
    """Records the losses of each iteration and the unlabelled batch."""

    def __init__(self):
        self.losses, self.batches = [], []

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.losses.append({name: value.item() for name, value in outputs.items()})
        self.batches.append(runner.model.unlabelled)


@pytest.fixture
def unlabelled(few_digits) -> dict:
    """The validation images, enlarged, in batches of three; their boxes are not loaded."""
    pipeline = [
        dict(type='LoadImageFromFile'),
        dict(type='Resize', scale=(96, 80), keep_ratio=False),
        dict(type='RandomFlip', prob=0.5),
        dict(type='PackDetInputs'),
    ]
    dataset = dict(
        type='CocoDataset',
        data_root=f'{few_digits}/',
        ann_file='val.json',
        data_prefix=dict(img='val/'),
        pipeline=pipeline,
    )
    return dict(batch_size=3, num_workers=0, dataset=dataset, batch_sampler=dict(type='AspectRatioBatchSampler'))


def trained(runner) -> tuple[Seen, dict]:
    seen = Seen()
    runner.register_hook(seen)
    runner.train()
    return seen, runner.model.student.state_dict()


QUICK = [('RetinaNet', 'sskd'), ('RetinaNet', 'soft_sskd'), ('RetinaNet', 'kd'), ('FasterRCNN', 'mhkd')]
CASES = [
    pytest.param(kind, method, marks=() if (kind, method) in QUICK else pytest.mark.long)
    for kind in KINDS
    for method in METHODS
]


@pytest.mark.parametrize(('kind', 'method'), CASES, indirect=['kind'], scope='session')
def test_one_run_resumed_in_the_middle(distil, unlabelled, tmp_path, method):
    model, hook = METHODS[method]
    changes = {'unlabelled_dataloader': unlabelled, 'train_cfg.val_interval': 6}
    seen, end = trained(distil(tmp_path / 'whole', hook, model, **changes))
    with_images = [batch.inputs.shape for batch in seen.batches if batch is not None]
    assert set(with_images) == {(3, 3, 96, 96)}  # padded to multiples of 32
    assert len(with_images) == (9 if method == 'sskd' else 18)  # its head needs labels
    assert all(loss['loss'] > 0 for loss in seen.losses)
    path = str(tmp_path / 'whole' / 'epoch_1.pth')
    _, resumed = trained(distil(tmp_path / 'resumed', hook, model, resume=True, load_from=path, **changes))
    assert all(torch.equal(value, resumed[name]) for name, value in end.items())


@pytest.mark.parametrize('kind', KINDS, indirect=True, scope='session')
def test_the_soft_loss_is_the_mean_over_all_images(distil, unlabelled, tmp_path, kind):
    runner = distil(
        tmp_path, dict(stages=None, lengths=None), dict(type='mmkd.KD', alpha=0.7), unlabelled_dataloader=unlabelled
    )
    runner._train_loop = runner.build_train_loop(runner._train_loop)
    schedule = next(hook for hook in runner.hooks if type(hook).__name__ == 'StageScheduleHook')
    schedule.before_run(runner)
    distiller = runner.model
    distiller.enter(schedule.schedule.phases[0])
    distiller.eval()
    labelled = distiller.data_preprocessor(next(iter(runner.train_dataloader)), False)
    assert schedule.unlabelled.hand_over(distiller.current) == 3
    more, seed = distiller.unlabelled, 5  # two-stage detectors sample proposals at random
    with torch.no_grad():
        torch.manual_seed(seed)
        found = distiller(**labelled, mode='loss')
        distiller.unlabelled = None
        torch.manual_seed(seed)
        alone = distiller(**labelled, mode='loss')
        extra = distiller.loss_without_labels(more.inputs, more.data_samples)
        scores = distiller.task.student_outcome(more.inputs, more.data_samples, 0).scores
        if kind == 'RetinaNet':  # with the anchors of its own forward
            own = distiller.student(more.inputs, more.data_samples, mode='tensor')[0]
            assert scores.logits.shape == (sum(level.numel() for level in own) // 10, 10)
    assert set(extra) == {'loss_soft'}
    assert found['loss_soft'].item() == pytest.approx((4 * alone['loss_soft'] + 3 * extra['loss_soft']).item() / 7)
    for name in set(alone) - {'loss_soft'}:
        assert str(found[name]) == str(alone[name]), name
