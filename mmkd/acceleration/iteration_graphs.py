"""Decides which iterations are replayed from a CUDA graph, and captures it."""

import logging
from collections.abc import Callable, Hashable
from typing import Any

import torch
from mmengine.dist import get_world_size
from mmengine.logging import print_log
from mmengine.model import BaseModel
from mmengine.optim import OptimWrapper
from torch import Tensor

from mmkd.acceleration.captured_iteration import CapturedIteration, shape_of
from mmkd.acceleration.captured_step import CapturedStep
from mmkd.acceleration.cuda_graph import CudaGraph, Graph
from mmkd.errors import UserError, in_one_line

WARM_UP = 3  # plain iterations of one kind before a capture; libraries and optimizers allocate their state in them
SELDOM_ALIKE = 20  # iterations among which no few in a row were alike: time to say so
_WITHOUT = 'all iterations run without a graph'


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
        _log(f'{_WITHOUT}, since {reason}.')
    return GraphedIterations() if wanted and not reason else None


class GraphedIterations:
    """Trains a classifier as mmengine's ``train_step`` does, with forward and backward replayed from a graph.

    A graph is captured when some iterations of one kind have run without one in a row. Iterations of another kind,
    such as the smaller last batch of an epoch, run without a graph. Code that replaces a tensor which an iteration
    reads must :meth:`drop` the graph. The optimizer's step is in it where torch can capture it, see
    :class:`CapturedStep`; otherwise it stays outside, and so do clipping and all schedules.

    Args:
        make: Makes a graph.
    """

    def __init__(self, make: Callable[[], Graph] = CudaGraph):
        self.make = make
        self.said: set[str] = set()
        self.failed: set[Hashable] = set()  # kinds that cannot be captured
        self.updates = True  # whether the optimizer's step may be captured
        self.drop()

    def drop(self) -> None:
        """Drop the graph; another one is captured after a few plain iterations."""
        self.captured: CapturedIteration | None = None
        self.last: Hashable = None  # the kind of the last iteration
        self.alike = 0  # consecutive iterations of that kind
        self.without = 0  # iterations since the drop that could have had a graph

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
            self._say(f'{_WITHOUT}, since {reason}.')
        return not reason

    def train_step(self, model: BaseModel, data: Any, wrapper: OptimWrapper, choices: Hashable) -> dict[str, Tensor]:
        """Run one iteration and return the values to log.

        Args:
            model: The networks with their losses.
            data: A batch of the loader.
            wrapper: The optimizer.
            choices: What decides on the host about the loss, besides the batch.
        """
        batch = model.data_preprocessor(data, True)
        size = shape_of(batch)
        if size is None:
            self._say(f'{_WITHOUT}, since samples hold more than labels, as those of detectors do.')
            return _plain(model, batch, wrapper)
        kind: tuple[Hashable, Hashable] = (choices, size)
        if self.captured is not None and self.captured.update is not None and self.captured.update.is_stale:
            self.updates = False
            self._say("the optimizer's step stays outside, since more than its learning rate changes.")
            self.drop()
        self.alike = self.alike + 1 if kind == self.last else 1
        self.last = kind
        if self.captured is not None and self.captured.kind == kind:
            return self.captured.step(batch, wrapper)
        if self.captured is not None and self.alike > WARM_UP:  # that kind has come to stay
            self.captured = None
            self.alike = 1
        if self.captured is not None or kind in self.failed:
            if self.captured is not None and self.captured.kind[1] != size:
                self._say('iterations whose batch has another size than most run without a graph.')
            return _plain(model, batch, wrapper)
        if self.alike <= WARM_UP:
            self.without += 1
            if self.without == SELDOM_ALIKE:
                alike = 'batches of one size and losses of one weight'
                self._say(f'{_WITHOUT} as long as no {WARM_UP + 1} in a row have {alike}.')
            with self.make().warm_up():
                return _plain(model, batch, wrapper)
        if not self._capture(model, batch, wrapper, kind):
            return _plain(model, batch, wrapper)
        assert self.captured is not None
        return self.captured.step(batch, wrapper)

    def _capture(self, model: BaseModel, batch: dict, wrapper: OptimWrapper, kind: tuple[Hashable, Hashable]) -> bool:
        """Capture a graph, or say why not."""
        update = CapturedStep(wrapper) if self.updates and CapturedStep.is_possible(wrapper) else None
        try:
            self.captured = CapturedIteration(self.make(), model, batch, kind, update)
        except Exception as error:  # some code of a network cannot be captured
            reason = in_one_line(error)
            if update is None:
                self.failed.add(kind)
                self._say(f'this phase runs without a graph, since it cannot be captured ({reason}).')
            else:  # the next iteration tries without it
                self.updates = False
                self._say(f"the optimizer's step stays outside, since a capture with it failed ({reason}).")
        return self.captured is not None

    def _say(self, sentence: str) -> None:
        if sentence not in self.said:
            self.said.add(sentence)
            _log(sentence)


def _log(sentence: str) -> None:
    print_log(f'model.cuda_graph: {sentence}', logger='current', level=logging.WARNING)


def _plain(model: BaseModel, batch: dict, wrapper: OptimWrapper) -> dict[str, Tensor]:
    """Forward and backward as in mmengine's ``train_step``, for a preprocessed batch."""
    with wrapper.optim_context(model):
        losses = model._run_forward(batch, mode='loss')
    loss, logged = model.parse_losses(losses)
    wrapper.update_params(loss)
    return logged
