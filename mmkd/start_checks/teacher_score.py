"""The teacher's own score, as a reference for the student."""

import copy

import torch
from mmengine.hooks import CheckpointHook, Hook
from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch import nn

from mmkd.distillers.base import Distiller
from mmkd.errors import UserError, in_one_line
from mmkd.utils.random_state import own_randomness

_MORE_IS_BETTER = CheckpointHook._default_greater_keys  # parts of metric names, as in save_best


def score_teacher(runner: Runner, distiller: Distiller) -> dict[str, float] | None:
    """Evaluate the teacher on the student's validation set with the student's evaluator, and log the score.

    The teacher sees the student's images, normalised its own way, so its score may be lower than published. None if it
    cannot be scored. The evaluation does not change the rest of the run.
    """
    why = _why_not(runner, distiller)
    if why:
        runner.logger.info(f'The teacher is not scored: {why}.')
        return None
    loader = copy.copy(runner.val_loop.dataloader)  # persistent workers would change later draws
    evaluator = runner.val_loop.evaluator
    with torch.no_grad(), own_randomness():
        for batch in loader:
            data = distiller.data_preprocessor(copy.deepcopy(batch), False)  # a data set may keep its samples
            inputs = distiller.networks.teacher_batch(data['inputs'], data['data_samples'])
            results = _predict(distiller.teacher.network, inputs, data['data_samples'])
            evaluator.process(data_samples=results, data_batch=batch)
        score = evaluator.evaluate(len(loader.dataset))
    said = ', '.join(
        f'{key} {value:.4g}' if isinstance(value, float) else f'{key} {value}' for key, value in score.items()
    )
    runner.logger.info(f"The teacher's own score on the student's validation images: {said}")
    return score


def check_save_best(hooks: list[Hook], score: dict | None) -> None:
    """Raise an error if a best checkpoint is wanted by a metric that is not in the teacher's score, if it has one."""
    for metric in [metric for hook in hooks for metric in getattr(hook, 'save_best', None) or ()]:
        if score and metric not in ('auto', *score):
            raise UserError(
                f'default_hooks.checkpoint.save_best: the validation has no {metric}, only {", ".join(score)}; '
                "name one of its metrics, or 'auto'."
            )


def numbers(score: dict | None) -> dict[str, float]:
    """The numbers in a score."""
    return {key: float(value) for key, value in (score or {}).items() if isinstance(value, int | float)}


def is_better_high(metric: str) -> bool:
    """Whether more of a metric is better, as mmengine's save_best knows it."""
    return any(part.lower() in metric.lower() for part in _MORE_IS_BETTER)


def not_ahead(teacher: dict[str, float], student: dict[str, float]) -> str:
    """A warning if the student finally reaches its teacher's score, by the first metric for which more is better."""
    known = [key for key in teacher if key in student and is_better_high(key)]
    if not known or teacher[known[0]] > student[known[0]]:
        return ''
    return (
        f'The student ends as good as its teacher: {known[0]} is {student[known[0]]:.4g}, the teacher has '
        f'{teacher[known[0]]:.4g}. A teacher that is not ahead has little to teach, and the student alone may come as '
        'far: train it alone to compare, or take a better teacher.'
    )


def _predict(teacher: BaseModel, inputs: torch.Tensor, data_samples: list) -> list:
    try:
        return teacher(inputs, data_samples, mode='predict')
    except Exception as error:  # a toolbox's networks may raise anything
        raise UserError(
            f'model.teacher: it cannot predict the validation images ({in_one_line(error)}); fix its config, or leave '
            'its score out with default_hooks.stages.score_teacher=False.'
        ) from error


def _why_not(runner: Runner, distiller: Distiller) -> str:
    """The reason why the teacher has no score, ``''`` if it has one."""
    student, teacher = distiller.student, distiller.teacher.network
    if runner.val_loop is None:
        return 'there is no validation set'
    if not distiller.teacher.whole:
        return 'not all of its weights come from a checkpoint'
    if not _kinds(student) & _kinds(teacher):
        return f"its type is {type(teacher).__name__}, the student's {type(student).__name__}"
    if getattr(student, 'with_mask', False) and not getattr(teacher, 'with_mask', False):
        return 'it predicts no masks, and the student does'
    own, needed = _classes(teacher), _classes(student)
    if hasattr(student, 'embedding') and hasattr(teacher, 'embedding'):  # its classes do not matter
        return ''
    if own != needed or not own:
        return f'it tells {own or "an unknown number of"} classes apart, the student {needed or "an unknown number"}'
    return ''


def _kinds(network: nn.Module) -> set[type]:
    """The base classes below BaseModel, such as mmpretrain's BaseClassifier or mmdet's BaseDetector."""
    return {kind for kind in type(network).__mro__ if issubclass(kind, BaseModel) and kind is not BaseModel}


def _classes(network: nn.Module) -> int:
    """The number of classes of a network's heads; 0 if unknown."""
    parts = [part for name, part in network.named_children() if name not in ('data_preprocessor', 'backbone', 'neck')]
    counts = [getattr(module, 'num_classes', None) for part in parts for module in part.modules()]
    return max((count for count in counts if isinstance(count, int)), default=0)  # a region proposal head says 1
