"""The first training sample, looked at before anything is learned."""

import copy
from typing import Any

from mmengine.model import BaseModel
from mmengine.runner import Runner

from mmkd.distillers.base import Distiller
from mmkd.errors import UserError

_PIPELINE = 'train_dataloader.dataset.pipeline'


def first_batch(runner: Runner, distiller: Distiller) -> dict:
    """The first training sample twice, as the student gets it."""
    loader = runner.train_dataloader
    batch = loader.collate_fn([_apart(loader.dataset)[0]] * 2)
    if 'inputs' not in batch:
        raise UserError(
            f"{_PIPELINE}: it puts out no 'inputs'; end it with your toolbox's packing, "
            "dict(type='PackDetInputs') or dict(type='PackInputs')."
        )
    return distiller.data_preprocessor(batch, False)


def _apart(dataset: Any) -> Any:
    """The same data with transforms of its own: some keep what passed through them, as mmdet's CachedMosaic."""
    dataset = copy.copy(dataset)
    if hasattr(dataset, 'pipeline'):
        dataset.pipeline = copy.deepcopy(dataset.pipeline)
    if hasattr(dataset, 'dataset'):
        dataset.dataset = _apart(dataset.dataset)
    if hasattr(dataset, 'datasets'):
        dataset.datasets = [_apart(part) for part in dataset.datasets]
    return dataset


def check_ground_truth(student: BaseModel, data_samples: list | None) -> None:
    """Refuse a detector's samples without what its head learns from, long before its head comes to learn."""
    for sample in data_samples or ():
        if 'gt_instances' not in sample:  # no detector's
            continue
        masks = getattr(getattr(student, 'roi_head', None), 'with_mask', False)
        needed = dict(bboxes=getattr(student, 'with_bbox', False), labels=True, masks=masks)
        missing = [name for name, needs in needed.items() if needs and name not in sample.gt_instances]
        if missing:
            raise UserError(
                f'{_PIPELINE}: the student learns from the ground truth, and its images come without '
                f"{' and '.join(missing)}; load them with dict(type='LoadAnnotations', with_bbox=True"
                f'{", with_mask=True" * masks}).'
            )
