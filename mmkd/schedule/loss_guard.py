"""Stopping a run whose loss is no number any more."""

import torch
from mmengine.optim import OptimWrapper
from torch import Tensor, nn

from mmkd.errors import UserError


class LossGuard:
    """Keeps losses on their device, and looks only now and then for how long they have not been finite.

    So training is not held up by a transfer each iteration, and no checkpoint is written after a bad loss. Where a
    gradient scaler skips the steps of bad losses, as it does each time its scale has grown too far, the run goes on; it
    is stopped when as many losses in a row are bad as lie between two looks.

    Args:
        interval (int): Iterations between two looks.
    """

    def __init__(self, interval: int = 50):
        self.interval = interval
        self.losses: list[Tensor] = []  # since the last look
        self.last = 0  # the iteration of the last one
        self.bad = 0  # at the last look: losses since the first bad one; of a scaler's, bad ones in a row
        self.scaled = False  # whether a gradient scaler is at work

    def see(self, loss: Tensor, stage: str, iteration: int, scaled: bool = False) -> None:
        """Take notice of one iteration's loss."""
        self.losses.append(loss.detach())
        self.scaled = scaled
        self.last = iteration
        if len(self.losses) == self.interval:
            self.check(stage)

    def check(self, stage: str, network: nn.Module | None = None) -> None:
        """Raise if a loss was bad, or if what a scaler does not protect is: the statistics of a network."""
        for is_good in _finite(self.losses):
            heals = self.scaled or not self.bad  # without a scaler nothing after a bad one is good
            self.bad = 0 if is_good and heals else self.bad + 1
        self.losses = []
        if self.bad >= (self.interval if self.scaled else 1):
            raise UserError(
                f'The loss of stage {stage} is NaN or infinite since iteration {self.last - self.bad + 2} (noticed at '
                f'{self.last + 1}); the last checkpoint is still good. Lower the learning rate or clip gradients '
                f'(optim_wrapper.clip_grad){", or train with --amp-dtype bfloat16" if self.scaled else ""}.'
            )
        if self.scaled and network is not None:
            for name, buffer in network.named_buffers():
                if not torch.isfinite(buffer).all():
                    raise UserError(
                        f'{name}, a statistic of the student, became NaN or infinite in stage {stage}: float16 is too '
                        'small for it; go on from the last checkpoint with --amp-dtype bfloat16 or a lower learning '
                        'rate.'
                    )


def is_scaled(wrapper: OptimWrapper) -> bool:
    """Whether a gradient scaler skips the steps of bad losses; for bfloat16 mmengine's wrapper has an idle one."""
    scaler = getattr(wrapper, 'loss_scaler', None)
    return scaler is not None and scaler.is_enabled()


def _finite(losses: list[Tensor]) -> list[bool]:
    """Of each, for which the device is asked once."""
    return torch.stack(losses).isfinite().reshape(len(losses), -1).all(1).tolist() if losses else []
