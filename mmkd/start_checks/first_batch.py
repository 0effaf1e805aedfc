"""Checks of the first samples before training."""

import copy
from typing import Any

import torch
from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch import Tensor
from torch.utils.data import DataLoader

from mmkd.distillers.base import Distiller
from mmkd.errors import UserError, in_one_line
from mmkd.stages.trace import unchanged
from mmkd.tasks import kind_of


def first_batch(runner: Runner, distiller: Distiller) -> dict:
    """The first training sample twice, as the student gets it.

    The first validation sample is loaded, too: otherwise a mistake in its pipeline shows only after an epoch.
    """
    if runner.val_loop is not None:
        batch_of('val_dataloader', runner.val_loop.dataloader, distiller)
    return batch_of('train_dataloader', runner.train_dataloader, distiller)


def batch_of(key: str, loader: DataLoader, distiller: Distiller) -> dict:
    """A loader's first sample twice, as the student gets it; the loader's order does not change."""
    try:
        batch = loader.collate_fn([_apart(loader.dataset)[0]] * 2)
        if 'inputs' not in batch:
            raise UserError(
                f"{key}.dataset.pipeline: its results have no 'inputs'; end it with your toolbox's packing, "
                "dict(type='PackDetInputs') or dict(type='PackInputs')."
            )
        data = distiller.data_preprocessor(batch, False)
        if not isinstance(data['inputs'], Tensor):
            raise UserError(
                'model.student.data_preprocessor: it does not stack the images into one tensor; use that of your '
                "toolbox, dict(type='DetDataPreprocessor', ...) or dict(type='ClsDataPreprocessor', ...)."
            )
        return data
    except UserError:
        raise
    except Exception as error:  # a pipeline may raise anything
        raise UserError(
            f'{key}.dataset: no batch can be made of its first sample ({in_one_line(error)}); '
            'fix its pipeline, or the data_preprocessor.'
        ) from error


def _apart(dataset: Any) -> Any:
    """The same data with copied transforms, since some cache samples, as mmdet's CachedMosaic does."""
    dataset = copy.copy(dataset)
    if hasattr(dataset, 'pipeline'):
        dataset.pipeline = copy.deepcopy(dataset.pipeline)
    if hasattr(dataset, 'dataset'):
        dataset.dataset = _apart(dataset.dataset)
    if hasattr(dataset, 'datasets'):
        dataset.datasets = [_apart(part) for part in dataset.datasets]
    return dataset


def check_prediction(runner: Runner, distiller: Distiller) -> None:
    """Let the student predict the first validation sample, so failures show before training."""
    if runner.val_loop is None:
        return
    batch, student = batch_of('val_dataloader', runner.val_loop.dataloader, distiller), distiller.student
    try:
        with unchanged(student), torch.no_grad():
            student.eval()
            student(**batch, mode='predict')
    except Exception as error:  # a toolbox's networks may raise anything
        raise UserError(
            f'val_dataloader.dataset: the student cannot predict its first sample ({in_one_line(error)}); fix its '
            'pipeline, which must resize and pack images as for testing, or test_cfg in model.student.'
        ) from error


def check_ground_truth(student: BaseModel, data_samples: list | None) -> None:
    """Raise an error for samples without the ground truth that the student's head needs."""
    task = kind_of(student)
    if task is not None:
        for sample in data_samples or ():
            task.check_sample(student, sample)


def check_head(student: BaseModel, inputs: Tensor, data_samples: list | None) -> None:
    """Compute the student's own losses once: in SSKD the head trains last, and would fail only after hours."""
    task = kind_of(student)
    if task is not None:
        for sample in data_samples or ():
            task.as_in_training(sample)
    try:
        with unchanged(student), torch.no_grad():
            student.train()
            student.parse_losses(student.loss(inputs, data_samples))
    except UserError:  # compiling failed
        raise
    except Exception as error:  # a toolbox's heads may raise anything
        raise UserError(
            f'model.student: its own loss of the first training sample cannot be computed ({in_one_line(error)}); fix '
            'its head, or the pipeline: do the classes in the data and num_classes agree?'
        ) from error
