"""Checks before training that features can be cached for the head's stage."""

import shutil
from pathlib import Path

import torch
from mmengine.dataset import default_collate, pseudo_collate
from mmengine.runner import EpochBasedTrainLoop, Runner

from mmkd.checkpoints.atomic_files import check_folder
from mmkd.distillers.base import Distiller
from mmkd.errors import UserError, in_one_line
from mmkd.feature_cache.rows import FeatureReplay, RowFormat
from mmkd.features.capture import tensors_in
from mmkd.schedule.hook import StageScheduleHook
from mmkd.stages.trace import unchanged
from mmkd.start_checks.first_batch import first_batch
from mmkd.utils.random_state import get_random_state, set_random_state

SWITCHES = ('SwitchRecipeHook', 'PipelineSwitchHook')  # mmpretrain's and mmdet's: they change the pipeline at an epoch
UNITS = ('bytes', 'kB', 'MB', 'GB', 'TB')


def check_run(runner: Runner, hook: StageScheduleHook, head: tuple[str, ...]) -> None:
    """Raise an error for runs in which no stage learns from fixed features alone."""
    model, kinds = hook.distiller, {kind.__name__ for hook in runner.hooks for kind in type(hook).__mro__}
    if not isinstance(runner.train_loop, EpochBasedTrainLoop):
        raise UserError(
            'mmkd.FeatureCacheHook: train_cfg counts iterations, but cached features need a training in epochs; set '
            'train_cfg.by_epoch=True, or leave the hook out.'
        )
    if hook.schedule.unit != 'epochs':
        raise UserError(
            'mmkd.FeatureCacheHook: default_hooks.stages.lengths counts iterations, and features are kept for epochs; '
            'give lengths in epochs, or leave the hook out.'
        )
    if not model.head_learns_from_features:
        raise UserError(
            f'mmkd.FeatureCacheHook: {type(model).__name__} shows the teacher the images while the head learns, so the '
            "student's features are not enough; leave the hook out."
        )
    if head not in hook.schedule.phases:
        raise UserError(
            f'mmkd.FeatureCacheHook: {head[0]} is never learned alone ({hook.schedule}), and features change while '
            'their stages learn; set default_hooks.stages.unfreeze_last=False, or leave the hook out.'
        )
    if getattr(model.data_preprocessor, 'batch_augments', None) is not None:
        raise UserError(
            'mmkd.FeatureCacheHook: model.student.train_cfg.augments mixes the images of each batch, so no image has '
            'fixed features; leave the augments or the hook out.'
        )
    collate = runner.train_dataloader.collate_fn
    if getattr(collate, 'func', collate) not in (pseudo_collate, default_collate):
        raise UserError(
            'mmkd.FeatureCacheHook: it works with the collate functions pseudo_collate and default_collate only; leave '
            'train_dataloader.collate_fn or the hook out.'
        )
    if found := [name for name in SWITCHES if name in kinds]:
        raise UserError(
            f'mmkd.FeatureCacheHook: {found[0]} changes the pipeline during training, but features are computed once; '
            'leave one of the two out.'
        )


def check_batches(runner: Runner) -> None:
    """Raise an error for a custom batch sampler; after :func:`try_out`, whose errors say more for detectors."""
    if runner.train_dataloader.batch_size is None:
        raise UserError(
            'mmkd.FeatureCacheHook: it does not support train_dataloader.batch_sampler; leave one of the two out.'
        )


def check_room(folder: Path, needed: int) -> None:
    """Check that the folder can be created and written, and that its disk has enough space."""
    check_folder('mmkd.FeatureCacheHook.dir', folder, 'choose another')
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise UserError(
            f'mmkd.FeatureCacheHook: the features need {in_bytes(needed)} more in {folder}, and {in_bytes(free)} are '
            'free; make room, take fewer views or another dir.'
        )


def try_out(runner: Runner, distiller: Distiller, head: tuple[str, ...]) -> RowFormat:
    """Find the format of a row; the distiller does not change.

    Students with trainable or random features, or with another loss on cached features, are rejected.
    """
    student = distiller.student
    trial = distiller.speed_ups.tried()
    with unchanged(distiller), trial, runner.optim_wrapper.optim_context(runner.model):
        distiller.enter(head)
        distiller.train()
        batch = first_batch(runner, distiller)
        inputs, samples = batch['inputs'], batch['data_samples']
        feature = student.extract_feat(inputs)
        parts = tensors_in(feature)
        distiller.eval()
        distiller.speed_ups.active = True  # in the same precision: only the modes differ
        fixed = tensors_in(student.extract_feat(inputs))
        pairs = zip(parts, fixed)
        same = all(torch.allclose(part, other, rtol=1e-2, atol=1e-3) for part, other in pairs)  # on GPUs as well
        if any(part.requires_grad for part in parts) or not same:
            raise UserError(
                'mmkd.FeatureCacheHook: the features that extract_feat of the student returns change while the head '
                'learns, or differ between training and evaluation, so they cannot be cached; leave the hook out.'
            )
        distiller.train()
        rows = RowFormat(feature, samples)
        packed = rows.pack(feature, samples)
        drawn = get_random_state()
        with torch.no_grad():
            expected = _loss(distiller, dict(inputs=inputs, data_samples=samples))
            set_random_state(drawn)
            replay = FeatureReplay(student, rows)
            replay.enable()
            try:
                found = _loss(distiller, distiller.data_preprocessor(dict(inputs=packed), True))
            except Exception as error:  # a toolbox's heads may raise anything
                raise UserError(
                    "mmkd.FeatureCacheHook: the student's loss cannot be computed from cached features and the ground "
                    f'truth alone ({in_one_line(error)}); leave the hook out.'
                ) from error
            finally:
                replay.disable()
        if not torch.allclose(found, expected, rtol=1e-3, equal_nan=True):
            raise UserError(
                f"mmkd.FeatureCacheHook: the student's loss of the first sample is {found:.4g} from cached features "
                f'but {expected:.4g} from the image; leave the hook out.'
            )
    return rows


def in_bytes(count: float) -> str:
    """A number of bytes in the unit that fits."""
    step = min(max(0, len(str(int(count))) - 1) // 3, len(UNITS) - 1)
    return f'{count / 1000**step:.{1 if step else 0}f} {UNITS[step]}'


def _loss(distiller: Distiller, batch: dict) -> torch.Tensor:
    return distiller.parse_losses(distiller(**batch, mode='loss'))[0]
