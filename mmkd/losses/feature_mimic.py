"""The distance of a student's feature to the teacher's."""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 (its usual name)

from mmkd.errors import UserError, did_you_mean
from mmkd.features.capture import Feature
from mmkd.registry import MODELS
from mmkd.utils.over_processes import shared_variance, variance


def cosine_distance(student: Tensor, teacher: Tensor, channels: int) -> Tensor:
    """1 - cosine similarity along the channels."""
    return 1 - F.cosine_similarity(student, teacher, dim=channels)


def summed(distance: Callable[..., Tensor]) -> Callable[[Tensor, Tensor, int], Tensor]:
    """An elementwise distance, summed over the channels."""
    return lambda student, teacher, channels: distance(student, teacher, reduction='none').sum(channels)


KINDS: dict[str, Callable[[Tensor, Tensor, int], Tensor]] = {
    'mse': summed(F.mse_loss),
    'l1': summed(F.l1_loss),
    'smooth_l1': summed(F.smooth_l1_loss),
    'cosine': cosine_distance,
}


def by_tensor(teacher: Tensor, channels: int, variance_of: Callable[[Tensor], Tensor]) -> Tensor:
    """The teacher's standard deviation where that is above 1."""
    return variance_of(teacher.flatten()[None]).sqrt().clamp(min=1).squeeze()


def by_variance(teacher: Tensor, channels: int, variance_of: Callable[[Tensor], Tensor]) -> Tensor:
    """The teacher's deviation over all channels: divided by it, squared differences sum to 1 - R squared."""
    return variance_of(teacher.movedim(channels, 0).flatten(1)).sum().clamp(min=1e-12).sqrt()


SCALES = {'tensor': by_tensor, 'variance': by_variance}


@MODELS.register_module()
class FeatureMimicLoss(nn.Module):
    """The distance between a student's feature and the teacher's, which must have the same shape.

    Scale: where the teacher's tensor has a standard deviation above 1 in this batch, in training that of all processes,
    both features are divided by it.
    Without a norm at a stage's end features grow so large that training at a recipe's own learning rate diverges. With
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
        super().__init__()
        if kind not in KINDS:
            raise UserError(
                f'FeatureMimicLoss: kind must be one of {", ".join(KINDS)}, not {kind!r}.'
                f'{did_you_mean(str(kind), KINDS)}'
            )
        if not isinstance(loss_weight, int | float) or not 0 <= loss_weight < math.inf:
            raise UserError(f'FeatureMimicLoss: loss_weight must be a finite number of 0 or more, not {loss_weight!r}.')
        if scale not in SCALES:
            raise UserError(f'FeatureMimicLoss: scale must be one of {", ".join(SCALES)}, not {scale!r}.')
        self.kind = kind
        self.scale = scale
        self.loss_weight = loss_weight

    def forward(self, student: Tensor | Feature, teacher: Tensor | Feature) -> Tensor:
        """The loss of one feature, a tensor or the tuple of a pyramid's tensors, as a scalar."""
        student, teacher = _as_tuple(student), _as_tuple(teacher)
        student_shapes, teacher_shapes = _shapes(student), _shapes(teacher)
        if student_shapes != teacher_shapes:
            raise UserError(
                f"FeatureMimicLoss: the student's feature of shape {student_shapes} and the teacher's of shape "
                f'{teacher_shapes} differ; an adapter must make them alike first.'
            )
        with torch.autocast(student[0].device.type, enabled=False):
            distances = [self._distance(s.float(), t.detach().float()) for s, t in zip(student, teacher)]
            return self.loss_weight * torch.stack(distances).mean()

    def _distance(self, student: Tensor, teacher: Tensor) -> Tensor:
        channels = 1 if student.ndim == 4 else -1  # maps are (N, C, H, W), tokens (N, L, C)
        scale = SCALES[self.scale](teacher, channels, shared_variance if self.training else variance)
        return KINDS[self.kind](student / scale, teacher / scale, channels).mean()

    def extra_repr(self) -> str:
        """What ``print`` shows of it."""
        return f'kind={self.kind!r}, loss_weight={self.loss_weight}, scale={self.scale!r}'


def _as_tuple(feature: Tensor | Feature) -> Feature:
    return (feature,) if isinstance(feature, Tensor) else tuple(feature)


def _shapes(feature: Feature) -> str:
    return ', '.join(str(tuple(tensor.shape)) for tensor in feature)
