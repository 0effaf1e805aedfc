"""The optimizer's step as a part of a CUDA graph."""

from collections.abc import Mapping
from typing import Any

import torch
from mmengine.optim import OptimWrapper


class CapturedStep:
    """Steps the optimizer in a graph, where its learning rates are tensors.

    Schedulers go on writing them as numbers. A graph fixes every other setting of the optimizer.

    Args:
        wrapper: The optimizer; :meth:`is_possible` with it.
    """

    def __init__(self, wrapper: OptimWrapper):
        self.optimizer = wrapper.optimizer
        self.fixed = self._settings()
        self.numbers = self._numbers()
        self.rates = [
            torch.tensor(number, dtype=torch.float32, device=group['params'][0].device)
            for number, group in zip(self.numbers, self.optimizer.param_groups)
        ]

    @staticmethod
    def is_possible(wrapper: OptimWrapper) -> bool:
        """Whether torch can capture it as the user configured it; clipping asks for the norm on the host."""
        groups = wrapper.optimizer.param_groups
        return not wrapper.clip_grad_kwargs and all(group.get('capturable', group.get('fused')) for group in groups)

    def run(self) -> None:
        """Step; for the time of the capture."""
        groups = self.optimizer.param_groups
        for group, rate in zip(groups, self.rates):
            group['lr'] = rate
        try:
            self.optimizer.step()
        finally:
            for group, number in zip(groups, self.numbers):
                group['lr'] = number

    def renew(self) -> None:
        """Hand over the learning rates; before each replay."""
        for index, number in enumerate(self._numbers()):
            if number != self.numbers[index]:
                self.numbers[index] = number
                self.rates[index].fill_(number)

    @property
    def is_stale(self) -> bool:
        """Whether a setting has changed that the graph fixes."""
        return self._settings() != self.fixed

    def _numbers(self) -> list[float]:
        return [group['lr'] for group in self.optimizer.param_groups]

    def _settings(self) -> list[Mapping[str, Any]]:
        return [
            {name: value for name, value in group.items() if name not in ('params', 'lr')}
            for group in self.optimizer.param_groups
        ]
