"""Detectors learn from images without boxes, here larger ones, beside the labelled ones."""

import pytest
import torch
from mmengine.hooks import Hook

from tests.distil_detectors import KINDS

METHODS = dict(
    sskd=(dict(type='mmkd.SSKD'), {}),
    feature_kd=(dict(type='mmkd.FeatureKD'), dict(stages=None, lengths=None)),
    kd=(dict(type='mmkd.KD'), dict(stages=None, lengths=None)),
    mhkd=(dict(type='mmkd.MHKD'), dict(stages=['layer2', 'all'], lengths=[2, 4])),
)


class Seen(Hook):
    """The losses of each iteration, and the batch without labels."""

    def __init__(self):
        self.losses, self.batches = [], []

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.losses.append({name: value.item() for name, value in outputs.items()})
        self.batches.append(runner.model.unlabelled)


@pytest.fixture
def unlabelled(few_digits) -> dict:
    """The validation images, larger, in batches of three; nothing of their boxes is loaded."""
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


QUICK = [('RetinaNet', 'sskd'), ('RetinaNet', 'kd'), ('FasterRCNN', 'mhkd')]
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
    assert len(with_images) == (9 if method == 'sskd' else 18)  # its head knows labels only
    assert all(loss['loss'] > 0 for loss in seen.losses)
    path = str(tmp_path / 'whole' / 'epoch_1.pth')
    _, resumed = trained(distil(tmp_path / 'resumed', hook, model, resume=True, load_from=path, **changes))
    assert all(torch.equal(value, resumed[name]) for name, value in end.items())
