"""What a network costs at inference: floating point operations, time and memory for a batch."""

import copy
import os
import time
from contextlib import suppress
from functools import partial
from typing import Any

import torch
from mmengine.analysis import get_model_complexity_info
from mmengine.model import BaseModel
from torch import nn
from torch.profiler import ProfilerActivity, profile
from torch.utils.data import DataLoader, Subset

MOST_TIMES, MOST_SECONDS = 10, 10.0  # a batch is run, after one to warm up


def first_batch(loader: DataLoader, images: int) -> Any:
    """The first images of a data set, as its loader would hand them out; a small set's come again."""
    places = [place % len(loader.dataset) for place in range(images)]  # type: ignore[arg-type]
    return next(iter(DataLoader(Subset(loader.dataset, places), images, collate_fn=loader.collate_fn)))


def count_flops(model: BaseModel, batch: Any) -> float | None:
    """Of one image, by mmengine's analysis; None where it cannot trace the network.

    As the toolboxes' own tools count: without what comes behind the scores, such as non-maximum suppression.
    """
    data = model.data_preprocessor(copy.deepcopy(batch), False)
    probe = copy.copy(model)  # the analysis calls forward with the images alone
    vars(probe)['forward'] = partial(model.forward, data_samples=data.get('data_samples'))
    with suppress(Exception):  # tracing may raise anything
        return get_model_complexity_info(probe, inputs=(data['inputs'],), show_table=False, show_arch=False)['flops']
    return None


@torch.no_grad()
def time_images(model: BaseModel, batch: Any) -> float:
    """Images a second through network and post-processing, without loading: the fastest of some runs."""
    data = model.data_preprocessor(copy.deepcopy(batch), False)
    times: list[float] = []
    while len(times) <= MOST_TIMES and sum(times) < MOST_SECONDS:
        begin = time.perf_counter()
        _predict(model, data)
        _wait(model)
        times.append(time.perf_counter() - begin)
    return len(data['inputs']) / min(times[1:] or times)


@torch.no_grad()
def peak_memory(model: BaseModel, batch: Any) -> int:
    """Bytes of the weights, and of the most that lies beside them while a batch is predicted."""
    data = model.data_preprocessor(copy.deepcopy(batch), False)
    weights = sum(tensor.nbytes for tensor in (*model.parameters(), *model.buffers()))
    if _device(model).type == 'cuda':
        torch.cuda.reset_peak_memory_stats(_device(model))
        before = torch.cuda.memory_allocated(_device(model))
        _predict(model, data)
        return weights + torch.cuda.max_memory_allocated(_device(model)) - before
    os.environ.setdefault('KINETO_LOG_LEVEL', '6')  # else it warns that there is no GPU
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        _predict(model, data)
    events = [event for event in profiler.profiler.kineto_results.events() if event.name() == '[memory]']  # type: ignore[union-attr]
    now = most = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        now += event.nbytes()
        most = max(most, now)
    return weights + most


def _predict(model: BaseModel, data: dict) -> None:
    model(copy.copy(data['inputs']), copy.deepcopy(data.get('data_samples')), mode='predict')


def _device(model: nn.Module) -> torch.device:
    return next(model.parameters()).device


def _wait(model: nn.Module) -> None:
    if _device(model).type == 'cuda':
        torch.cuda.synchronize(_device(model))
