"""What an iteration of each phase costs, against the student alone."""

import time
from collections.abc import Callable
from typing import Any

import torch
from mmengine.runner import Runner

from mmkd.distillers.base import Distiller
from mmkd.hooks import StageScheduleHook
from mmkd.utils.durations import duration

ON_CPU = 8  # images at most: only the ratios count
TIMES, ENOUGH = 3, 10.0  # iterations that are timed, and the seconds after which no further one is


def costs_in_words(runner: Runner, hook: StageScheduleHook) -> list[str]:
    """Lines for the student alone and for each phase: forward and backward of a batch, the fastest of a few.

    Nothing is learned, for no optimizer steps.

    Args:
        runner: Has the training images.
        hook: Has planned the phases.
    """
    distiller, schedule = hook.distiller, hook.schedule
    device = next(distiller.student.parameters()).device
    batch = _images(runner, device)
    distiller.train()
    distiller.progress = 0.5  # some terms begin later than others, or end before
    distiller.enter(schedule.stages)
    alone = _fastest(distiller, batch, lambda data: distiller.student(**data, mode='loss'))
    rows = [f'  {"the student alone":<24}{_seconds(alone):>8}']
    for index, phase in enumerate(schedule.phases):
        distiller.enter(phase)
        if hook.unlabelled is not None:
            hook.unlabelled.hand_over(phase)
        cost = _fastest(distiller, batch, lambda data: distiller(**data, mode='loss'))
        rows.append(f'  {schedule.name(index):<24}{_seconds(cost):>8}{cost / alone:6.1f} x')
    return [f'Forward and backward of {len(batch["inputs"])} images on {_name(device)}:', *rows]


def _images(runner: Runner, device: torch.device) -> dict:
    """The first of the training images, a whole batch where that is quick."""
    loader, size = runner.train_dataloader, runner.cfg.train_dataloader.get('batch_size') or 2
    count = min(size if device.type == 'cuda' else min(size, ON_CPU), len(loader.dataset))
    return loader.collate_fn([loader.dataset[index] for index in range(count)])


def _fastest(distiller: Distiller, batch: dict, losses: Callable[[dict], dict[str, Any]]) -> float:
    """The fewest seconds of an iteration."""
    took: list[float] = []
    while len(took) <= TIMES and sum(took) < ENOUGH:
        data = distiller.data_preprocessor(batch, True)
        begin = time.perf_counter()
        loss, _ = distiller.parse_losses(losses(data))
        loss.backward()
        if loss.is_cuda:
            torch.cuda.synchronize()
        took.append(time.perf_counter() - begin)
        distiller.zero_grad(set_to_none=True)
    return min(took)


def _seconds(cost: float) -> str:
    return f'{1000 * cost:,.0f} ms' if cost < 9.95 else duration(cost)


def _name(device: torch.device) -> str:
    if device.type == 'cuda':
        return torch.cuda.get_device_name(device)
    threads = torch.get_num_threads()
    return f'{threads} {"thread" if threads == 1 else "threads"} of the CPU'
