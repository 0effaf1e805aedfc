"""Logged scalars that stay on the device until they are read."""

from collections import OrderedDict, defaultdict
from typing import Any

import torch
from mmengine.logging import HistoryBuffer, MessageHub
from torch import Tensor

from mmkd.schedule.long_history import LongHistory

MOST = 1000  # number of held values; a run that logs nothing must not keep all of them


class HeldScalars(MessageHub):
    """mmengine's message hub, but tensors stay on their device until a log, a checkpoint or a hook reads them.

    mmengine's own hub copies each scalar in each iteration, and each copy waits until the GPU has done all its work.
    Here all tensors are copied at once, stacked, and histories are long ones. Values, their order and what is saved are
    mmengine's own.
    """

    held: dict[str, list[tuple[Tensor, int]]]  # values and counts, by key

    def update_scalar(self, key: str, value: Any, count: int = 1, resumed: bool = True) -> None:
        """Update as mmengine does, but keep a tensor as it is."""
        if not isinstance(value, Tensor) or value.numel() != 1:
            if key in self.held:
                self.settle()
            super().update_scalar(key, value, count, resumed)
            self._lengthen(key)
            return
        self._set_resumed_keys(key, resumed)
        self._log_scalars.setdefault(key, LongHistory())  # the log orders keys by their first values
        self.held.setdefault(key, []).append((value.detach(), count))
        if sum(map(len, self.held.values())) >= MOST:
            self.settle()

    @property
    def log_scalars(self) -> OrderedDict:
        """All histories, including the held values."""
        self.settle()
        return self._log_scalars

    def get_scalar(self, key: str) -> HistoryBuffer:
        """The history of one key, including its held values; timers read theirs in each iteration."""
        if key in self._log_scalars and key not in self.held:
            return self._log_scalars[key]
        return super().get_scalar(key)

    def state_dict(self) -> dict:
        """The state for a checkpoint."""
        self.settle()
        return super().state_dict()

    @property
    def is_settled(self) -> bool:
        """Whether somebody has read the values since the last iteration: a log has been written."""
        return not self.held

    def settle(self) -> None:
        """Move the held tensors into the histories."""
        held, self.held = self.held, {}
        values = iter(_read([value for pairs in held.values() for value, _ in pairs]))
        for key, pairs in held.items():
            updates = [(next(values), count) for _, count in pairs]
            history = self._lengthen(key)
            if len(history.data[0]):
                for value, count in updates:
                    history.update(value, count)
            else:
                self._log_scalars[key] = LongHistory(*zip(*updates))  # an empty history would turn counts into floats

    def _lengthen(self, key: str) -> LongHistory:
        self._log_scalars[key] = history = LongHistory.of(self._log_scalars[key])
        return history


def hold_scalars(hub: MessageHub) -> None:
    """Turn mmengine's message hub into one that holds tensors."""
    if type(hub) is MessageHub:
        hub.__class__ = HeldScalars
        vars(hub)['held'] = {}


def _read(tensors: list[Tensor]) -> list:
    """The values of tensors, with one copy for each device and type."""
    alike = defaultdict(list)
    for place, tensor in enumerate(tensors):
        alike[tensor.device, tensor.dtype].append(place)
    values: dict[int, Any] = {}
    for places in alike.values():
        values.update(zip(places, torch.stack([tensors[place].reshape(()) for place in places]).tolist()))
    return [values[place] for place in range(len(tensors))]
