"""Stops a run whose loss is NaN or infinite."""

import torch
from mmengine.optim import OptimWrapper
from torch import Tensor, nn

from mmkd.errors import UserError


class LossGuard:
    """Raises an error if losses are not finite; it is asked when a log has been written or a checkpoint is to be saved.

    In between it keeps the losses on their device: training waits for no transfer but those of the log. A gradient
    scaler skips the steps of bad losses, which happens whenever its scale has grown too far. With a scaler the run
    therefore stops only when many losses in a row were bad.

    Args:
        interval (int): Iterations after which it checks though nobody has asked.
        patience (int): Bad losses in a row that a scaler may skip.
    """

    def __init__(self, interval: int = 500, patience: int = 50):
        self.interval, self.patience = interval, patience
        self.losses: list[Tensor] = []  # since the last check
        self.last = 0  # the iteration of the last check
        self.bad = 0  # at the last check: losses since the first bad one; with a scaler, consecutive bad ones
        self.scaled = False  # whether a gradient scaler is active

    def see(self, loss: Tensor, stage: str, iteration: int, scaled: bool = False) -> None:
        """Add the loss of an iteration."""
        self.losses.append(loss.detach())
        self.scaled = scaled
        self.last = iteration
        if len(self.losses) == self.interval:
            self.check(stage)

    def check(self, stage: str, network: nn.Module | None = None) -> None:
        """Raise an error if a loss is bad, or a network's statistics, which a scaler does not protect."""
        for is_good in _finite(self.losses):
            heals = self.scaled or not self.bad  # without a scaler, all losses after a bad one are useless
            self.bad = 0 if is_good and heals else self.bad + 1
        self.losses = []
        if self.bad >= (self.patience if self.scaled else 1):
            raise UserError(
                f'The loss of stage {stage} is NaN or infinite since iteration {self.last - self.bad + 2} (noticed at '
                f'{self.last + 1}); no saved checkpoint is affected. Lower the learning rate or clip gradients '
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
    """Whether each loss is finite, with one transfer from the device."""
    return torch.stack(losses).isfinite().reshape(len(losses), -1).all(1).tolist() if losses else []
