"""The distance of a student's feature to the teacher's."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 (its usual name)

from mmkd.losses.common import check_choice
from mmkd.losses.feature_loss import FeatureLoss
from mmkd.registry import MODELS
from mmkd.utils.over_processes import shared_variance, variance


def cosine_distance(student: Tensor, teacher: Tensor) -> Tensor:
    """1 - cosine similarity along the channels."""
    return 1 - F.cosine_similarity(student, teacher, dim=1)


def summed(distance: Callable[..., Tensor]) -> Callable[[Tensor, Tensor], Tensor]:
    """An elementwise distance, summed over the channels."""
    return lambda student, teacher: distance(student, teacher, reduction='none').sum(1)


KINDS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    'mse': summed(F.mse_loss),
    'l1': summed(F.l1_loss),
    'smooth_l1': summed(F.smooth_l1_loss),
    'cosine': cosine_distance,
}


LARGEST = 128.0
"""The summed variance of a stage's channels from which on its gradients would grow too large for a recipe's rate."""


def by_tensor(teacher: Tensor, variance_of: Callable[[Tensor], Tensor], bound: float = LARGEST) -> Tensor:
    """The root of the teacher's variance, or of its channels' summed one over the bound, where that is above 1."""
    largest = variance_of(teacher.reshape(1, -1)).squeeze()
    if teacher.shape[1] > bound:  # fewer channels cannot vary more, relative to it, than the tensor
        largest = torch.maximum(largest, variance_of(teacher.movedim(1, 0).flatten(1)).sum() / bound)
    return largest.clamp(min=1).sqrt()


def by_variance(teacher: Tensor, variance_of: Callable[[Tensor], Tensor]) -> Tensor:
    """The teacher's deviation over all channels: divided by it, squared differences sum to 1 - R squared."""
    return variance_of(teacher.movedim(1, 0).flatten(1)).sum().clamp(min=1e-12).sqrt()


SCALES = {'tensor': by_tensor, 'variance': by_variance}


@MODELS.register_module()
class FeatureMimicLoss(FeatureLoss):
    """The distance between a student's feature and the teacher's, which must have the same shape.

    Scale: where the teacher's tensor has a variance above 1 in this batch, in training that of all processes, or its
    channels' variances sum to more than 128, both features are divided so that they have not.
    Without a norm at a stage's end features grow so large that training at a recipe's own learning rate diverges; many
    channels make the student's weights grow so that it diverges later, when its head learns. With
    ``scale='variance'`` the squared differences sum to the part of the teacher's variance that the student does not
    explain, so stages of any width weigh the same where they are learned together.

    Reduction: at each position of a feature the distance of two vectors, summed over the channels; then the mean over
    positions and batch, then over the tensors of a pyramid, however large each is, then times ``loss_weight``. (A mean
    over the channels, as ``nn.MSELoss`` takes it, makes gradients fade with the width: a wide stage learns next to
    nothing.) Everything is computed in float32, under autocast too, and no gradient reaches the teacher.

    Args:
        kind (str): ``'mse'``, ``'l1'``, ``'smooth_l1'`` (quadratic below a difference of 1) or
            ``'cosine'`` (1 - cosine similarity along the channels: the second axis of a map
            (N, C, H, W), the last of tokens (N, L, C); not for maps (N, H, W, C), which cannot be told
            from the others). Defaults to ``'mse'``.
        loss_weight (float): A finite number that is not negative. Defaults to 1.0.
        scale (str): ``'tensor'`` or ``'variance'``, see above. Defaults to ``'tensor'``.

    Example:
        >>> dict(type='mmkd.FeatureMimicLoss', kind='smooth_l1')
    """

    def __init__(self, kind: str = 'mse', loss_weight: float = 1.0, scale: str = 'tensor'):
        super().__init__(loss_weight)
        self.kind = check_choice('FeatureMimicLoss', 'kind', kind, list(KINDS))
        self.scale = check_choice('FeatureMimicLoss', 'scale', scale, list(SCALES))
        self.scale_of = SCALES[scale]

    def compare(self, student: list[Tensor], teacher: list[Tensor]) -> Tensor:
        """The mean over the tensors."""
        return torch.stack([self.pair(own, target) for own, target in zip(student, teacher)]).mean()

    def pair(self, student: Tensor, teacher: Tensor) -> Tensor:
        """The mean distance over batch and positions."""
        scale = self.scale_of(teacher, shared_variance if self.training else variance)
        return KINDS[self.kind](student / scale, teacher / scale).mean()

    def extra_repr(self) -> str:
        """What ``print`` shows of it."""
        return f'kind={self.kind!r}, loss_weight={self.loss_weight}, scale={self.scale!r}'
