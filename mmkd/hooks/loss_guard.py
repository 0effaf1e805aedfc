"""Stopping a run whose loss is no number any more."""

import torch
from torch import Tensor

from mmkd.errors import UserError


class LossGuard:
    """Counts on the device for how long a loss was finite, and asks it only now and then.

    So training is not held up by a transfer each iteration, and no checkpoint is written after a bad loss.

    Args:
        interval (int): Iterations between two looks.
    """

    def __init__(self, interval: int = 50):
        self.interval = interval
        self.seen = 0  # losses since the last look
        self.start = 0  # the iteration of the first of them
        self.finite: Tensor | bool = True  # whether all of them were finite
        self.good: Tensor | int = 0  # how many came before the first that was not

    def see(self, loss: Tensor, stage: str, iteration: int) -> None:
        """Take notice of one iteration's loss."""
        if not self.seen:
            self.start = iteration
        self.finite = torch.isfinite(loss.detach()).all() & self.finite
        self.good = self.good + self.finite.long()
        self.seen += 1
        if self.seen == self.interval:
            self.check(stage, iteration)

    def check(self, stage: str, iteration: int) -> None:
        """Raise if a loss since the last look was not finite."""
        good = int(self.good)
        if good < self.seen:
            raise UserError(
                f'The loss of stage {stage} is NaN or infinite since iteration {self.start + good + 1} (noticed at '
                f'{iteration + 1}); the last checkpoint is still good. Lower the learning rate or clip gradients '
                '(optim_wrapper.clip_grad).'
            )
        self.seen, self.finite, self.good = 0, True, 0
