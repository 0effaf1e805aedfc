"""Replays the forward and backward of an iteration as one CUDA graph."""

import logging
from collections.abc import Callable, Hashable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Protocol

import torch
from mmengine.dist import get_world_size
from mmengine.logging import print_log
from mmengine.model import BaseModel
from mmengine.optim import OptimWrapper
from torch import Tensor, nn

from mmkd.errors import UserError, in_one_line

WARM_UP = 3  # plain iterations of one kind before a capture; libraries and optimizers allocate their state in them
_PLAIN_WAY = 'all iterations go the plain way'
LABELS = ('gt_label', 'gt_score')  # fields of a classifier's samples that are on the device


class Graph(Protocol):
    """Work that is recorded once and then replayed on the same tensors."""

    def warm_up(self) -> AbstractContextManager:
        """A context for the plain iterations before a capture."""

    def capture(self, work: Callable[[], list[Tensor]]) -> list[Tensor]:
        """Record work without running it, and return its output tensors."""

    def replay(self) -> None:
        """Run the recorded work."""


class CudaGraph:
    """A CUDA graph of torch."""

    def __init__(self) -> None:
        self.graph = torch.cuda.CUDAGraph()

    @contextmanager
    def warm_up(self) -> Iterator[None]:
        """Use another stream: a capture must not meet what autograd keeps of the usual one."""
        here, aside = torch.cuda.current_stream(), torch.cuda.Stream()
        aside.wait_stream(here)
        with torch.cuda.stream(aside):
            yield
        here.wait_stream(aside)

    def capture(self, work: Callable[[], list[Tensor]]) -> list[Tensor]:
        """Check this thread's calls only: the data loader's thread pins memory meanwhile."""
        with torch.cuda.graph(self.graph, capture_error_mode='thread_local'):
            return work()

    def replay(self) -> None:
        """Launch the whole graph."""
        self.graph.replay()


def iteration_graphs(wanted: bool, compiles: bool | dict = False) -> 'GraphedIterations | None':
    """The object for the option ``cuda_graph``, or None and a line in the log where graphs are impossible."""
    if not isinstance(wanted, bool):
        raise UserError(f'model.cuda_graph: it must be True or False, not {wanted!r}.')
    if wanted and compiles is not False:
        raise UserError('model.cuda_graph: it does not go together with model.compile; leave one of them out.')
    reason = '' if torch.cuda.is_available() else 'there is no GPU'
    if get_world_size() > 1:
        reason = 'there are several processes'
    if wanted and reason:
        _log(f'{_PLAIN_WAY}, since {reason}.')
    return GraphedIterations() if wanted and not reason else None


class GraphedIterations:
    """Trains a classifier as mmengine's ``train_step`` does, with forward and backward replayed from a graph.

    A graph is captured when some iterations of one kind have run the plain way in a row. Iterations of another kind,
    such as the smaller last batch of an epoch, go the plain way. Whoever replaces a tensor that an iteration reads must
    :meth:`drop` the graph. Clipping, the optimizer's step and its schedules stay outside, so they are the user's own.

    Args:
        make: Makes a graph.
    """

    def __init__(self, make: Callable[[], Graph] = CudaGraph):
        self.make = make
        self.said: set[str] = set()
        self.failed: set[Hashable] = set()  # kinds that cannot be captured
        self.drop()

    def drop(self) -> None:
        """Drop the graph; another one is captured after a few plain iterations."""
        self.captured: _Captured | None = None
        self.last: Hashable = None  # the kind of the last iteration
        self.alike = 0  # consecutive iterations of that kind

    def takes(self, wrapper: OptimWrapper, reason: str = '') -> bool:
        """Whether graphs are possible; if not, the reason is logged once.

        Args:
            wrapper: The optimizer.
            reason: Why not, if it is known already.
        """
        if type(wrapper) is not OptimWrapper:
            reason = f'optim_wrapper is an {type(wrapper).__name__}; only OptimWrapper can do without its backward'
        elif wrapper._accumulative_counts > 1:
            reason = 'optim_wrapper.accumulative_counts adds up the gradients of several iterations'
        if reason:
            self._say(f'{_PLAIN_WAY}, since {reason}.')
        return not reason

    def train_step(self, model: BaseModel, data: Any, wrapper: OptimWrapper, kind: Hashable) -> dict[str, Tensor]:
        """Run one iteration and return the values to log.

        Args:
            model: The networks with their losses.
            data: A batch of the loader.
            wrapper: The optimizer.
            kind: What decides on the host about the loss, besides the batch.
        """
        batch = model.data_preprocessor(data, True)
        size = _size(batch)
        if size is None:
            self._say(f'{_PLAIN_WAY}, since samples hold more than labels, as those of detectors do.')
            return _plain(model, batch, wrapper)
        kind = (kind, size)
        if self.captured is not None and self.captured.kind == kind:
            return self.captured.step(batch, wrapper)
        if self.captured is not None:
            self._say('iterations with a batch of another size than most go the plain way.')
            return _plain(model, batch, wrapper)
        self.alike = self.alike + 1 if kind == self.last else 1
        self.last = kind
        if kind in self.failed:
            return _plain(model, batch, wrapper)
        if self.alike <= WARM_UP:
            with self.make().warm_up():
                return _plain(model, batch, wrapper)
        try:
            self.captured = _Captured(self.make(), model, batch, kind)
        except Exception as error:  # some code of a network cannot be captured
            self.failed.add(kind)
            self._say(f'this phase goes the plain way, since it cannot be captured ({in_one_line(error)}).')
            return _plain(model, batch, wrapper)
        return self.captured.step(batch, wrapper)

    def _say(self, sentence: str) -> None:
        if sentence not in self.said:
            self.said.add(sentence)
            _log(sentence)


class _Captured:
    """A graph with its input and output tensors."""

    def __init__(self, graph: Graph, model: BaseModel, batch: dict, kind: Hashable):
        self.graph, self.kind = graph, kind
        samples = batch['data_samples']
        self.inputs = torch.empty_like(batch['inputs'])
        self.samples = None if samples is None else [sample.clone() for sample in samples]
        self.labels = {key: torch.cat(_values(samples, key)) for key in _keys(samples)}
        for key, buffer in self.labels.items():
            parts = buffer.split([len(value) for value in _values(samples, key)])
            for sample, part in zip(self.samples or (), parts):
                sample.set_field(part, key, dtype=Tensor)
        self.fill(batch)
        learned = [parameter for parameter in model.parameters() if parameter.requires_grad]
        names: list[str] = []
        reached: list[Tensor] = []

        def work() -> list[Tensor]:
            inputs = dict(inputs=self.inputs, data_samples=self.samples)
            loss, logs = model.parse_losses(model._run_forward(inputs, mode='loss'))
            loss.backward()
            names[:] = logs
            pairs = [(parameter, parameter.grad) for parameter in learned if parameter.grad is not None]
            reached[:] = [parameter for parameter, _ in pairs]
            return [torch.stack([value.detach() for value in logs.values()]), *(gradient for _, gradient in pairs)]

        before = _buffers(model)
        model.zero_grad()  # otherwise the graph would add to an existing gradient
        try:
            self.logged, *gradients = graph.capture(work)
        except Exception:
            model.zero_grad()
            for (module, name), value in before.items():
                module._buffers[name] = value  # a capture computes nothing
            raise
        self.names, self.gradients = names, list(zip(reached, gradients))
        self.replaced = {place: now for place, now in _buffers(model).items() if now is not before[place]}

    def fill(self, batch: dict) -> None:
        """Copy a batch into the tensors that the graph reads."""
        self.inputs.copy_(batch['inputs'])
        for key, buffer in self.labels.items():
            torch.cat(_values(batch['data_samples'], key), out=buffer)

    def step(self, batch: dict, wrapper: OptimWrapper) -> dict[str, Tensor]:
        """Replay one iteration; the logged values are copies, since the next replay overwrites them."""
        self.fill(batch)
        self.graph.replay()
        for parameter, gradient in self.gradients:
            parameter.grad = gradient
        for (module, name), value in self.replaced.items():
            module._buffers[name] = value  # an iteration without the graph may have set other gradients
        wrapper._inner_count += 1  # a backward pass does this, too
        wrapper.step()
        wrapper.zero_grad()
        return dict(zip(self.names, self.logged.clone().unbind()))


def _log(sentence: str) -> None:
    print_log(f'model.cuda_graph: {sentence}', logger='current', level=logging.WARNING)


def _buffers(model: nn.Module) -> dict[tuple[nn.Module, str], Tensor | None]:
    return {(module, name): value for module in model.modules() for name, value in module._buffers.items()}


def _plain(model: BaseModel, batch: dict, wrapper: OptimWrapper) -> dict[str, Tensor]:
    """Forward and backward as in mmengine's ``train_step``, for a preprocessed batch."""
    with wrapper.optim_context(model):
        losses = model._run_forward(batch, mode='loss')
    loss, logged = model.parse_losses(losses)
    wrapper.update_params(loss)
    return logged


def _size(batch: dict) -> Hashable | None:
    """Shapes and types that two batches must share; None if samples hold anything but labels."""
    inputs, samples = batch['inputs'], batch.get('data_samples')
    if not isinstance(inputs, Tensor) or not set(_keys(samples)) <= set(LABELS):
        return None
    lengths = {key: tuple(len(value) for value in _values(samples, key)) for key in _keys(samples)}
    return inputs.shape, inputs.dtype, inputs.device, tuple(lengths.items())


def _keys(samples: list | None) -> list[str]:
    """The fields of the first sample; all samples of a batch have the same."""
    return sorted(samples[0].keys()) if samples else []


def _values(samples: list | None, key: str) -> list[Tensor]:
    return [sample.get(key) for sample in samples or ()]
