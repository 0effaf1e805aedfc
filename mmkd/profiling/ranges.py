"""Marks the parts of a training as ranges in the profiler's timeline."""

import functools
from collections.abc import Callable
from typing import Any

from mmengine.model import BaseModel
from mmengine.optim import OptimWrapper
from torch import nn
from torch.profiler import record_function

from mmkd.distillers.base import Distiller
from mmkd.features.capture import tensors_in
from mmkd.profiling.table import ASIDE, PREFIX, Part

_ABSENT = object()


class Ranges:
    """Turns method calls into ranges of torch's profiler.

    The methods are replaced on their objects and restored later, so an unprofiled training runs none of this code.
    """

    def __init__(self) -> None:
        self.part = ''  # the current part
        self.closed = False  # whether all calls inside belong to it
        self.before: list[tuple[Any, str, Callable, Any]] = []

    def put(self, holder: Any, name: str, part: str | Callable[[Any], str], closed: bool = True) -> None:
        """Make a range of a method of an object.

        Args:
            holder: The object.
            name: Of the method.
            part: The part that a call belongs to, or a function of the call's arguments that returns it.
            closed: Whether everything that it calls belongs to the same part.
        """
        run = getattr(holder, name)

        @functools.wraps(run)
        def call(*args: Any, **kwargs: Any) -> Any:
            now = part if isinstance(part, str) else part((args, kwargs))
            if self.closed or (now == self.part and not closed):
                return run(*args, **kwargs)
            outside = self.part, self.closed
            self.part, self.closed = now, closed
            try:  # an exception may stop the forward pass early
                with record_function(PREFIX + now):
                    return run(*args, **kwargs)
            finally:
                self.part, self.closed = outside

        self.before.append((holder, name, call, vars(holder).get(name, _ABSENT)))
        vars(holder)[name] = call

    def remove(self) -> None:
        """Restore the methods, except those replaced again meanwhile, as frozen norms are at a validation."""
        for holder, name, call, value in reversed(self.before):
            if vars(holder).get(name) is not call:
                continue
            vars(holder).pop(name)
            if value is not _ABSENT:
                vars(holder)[name] = value
        self.before = []

    def put_on_model(self, model: BaseModel) -> None:
        """Mark the parts of a distiller or a plain model; time outside of all modules counts as loss."""
        self.put(model, 'forward', Part.LOSSES, closed=False)
        self.put(model, 'parse_losses', Part.LOSSES)
        self.put(model.data_preprocessor, 'forward', Part.PREPROCESSING)
        if isinstance(model, Distiller):
            self._put_on_teacher(model)
            self._put_on_extras(model)
        self._put_on_student(model.student if isinstance(model, Distiller) else model)

    def put_on_optimizer(self, optim_wrapper: OptimWrapper) -> None:
        """Mark the backward pass and the optimizer step."""
        self.put(optim_wrapper, 'backward', Part.BACKWARD)
        self.put(optim_wrapper, 'step', Part.OPTIMIZER)
        self.put(optim_wrapper, 'zero_grad', Part.OPTIMIZER)

    def put_aside(self, holder: Any, name: str) -> None:
        """Mark a method that is not part of the training."""
        self.put(holder, name, ASIDE)

    def _put_on_teacher(self, distiller: Distiller) -> None:
        """Mark every method by which the teacher is called."""
        self.put(distiller.networks, 'teacher_inputs', Part.TEACHER)
        self.put(distiller.teacher, 'pad', Part.TEACHER)
        self.put(distiller.teacher.network, 'forward', Part.TEACHER)
        self.put(distiller.teacher.network, 'extract_feat', Part.TEACHER)
        task = vars(distiller).get('task')
        if task is not None:
            self.put(task, 'teacher_outcome', Part.TEACHER)

    def _put_on_extras(self, distiller: Distiller) -> None:
        """Mark the extras; extras that are not trained are the teacher's heads."""
        trained = {module for extra in distiller.trained_extras() for module in extra.modules()}
        for name, module in distiller.extras.named_modules():
            if module in trained:
                self._put_on_module(name, module, Part.TRAINED)
            else:
                self.put(module, 'forward', Part.TEACHER)

    def _put_on_student(self, student: nn.Module) -> None:
        """A module counts as frozen if no gradient passes through it, which is known only when it runs."""
        frozen = any(not parameter.requires_grad for parameter in student.parameters())

        def part(call: Any) -> str:
            return Part.TRAINED if any(tensor.requires_grad for tensor in tensors_in(call)) else Part.FROZEN

        for name, module in student.named_modules():
            if not name or f'{name}.'.startswith('data_preprocessor.'):
                continue
            learns = not frozen or any(parameter.requires_grad for parameter in module.parameters())
            self._put_on_module(name, module, Part.TRAINED if learns else part)

    def _put_on_module(self, name: str, module: nn.Module, part: str | Callable[[Any], str]) -> None:
        """Mark a module and its loss methods, which both toolboxes name alike."""
        if 'loss' in name.rpartition('.')[2]:
            self.put(module, 'forward', Part.LOSSES)
        else:
            self.put(module, 'forward', part, closed=False)
