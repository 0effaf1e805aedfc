"""What a detector's own class loss compares its scores with."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mmkd.features.every_call import Call


@dataclass(frozen=True)
class Targets:
    """The class of each place that a head scores, as its own loss was told.

    Args:
        labels: (places,); the number of classes is the background.
        weights: (places,), 0 where a place does not count.
        divisor: Of the sum over the places.
    """

    labels: Tensor
    weights: Tensor
    divisor: Tensor | float

    @classmethod
    def of(cls, calls: Sequence[Call], classes: int) -> 'Targets | None':
        """From the calls of the modules that compute the class loss; None if they compare with something else.

        Args:
            calls: Of a dense head one a level, of several heads for proposals one a head.
            classes: Their number.
        """
        told = [list(call.arguments.values())[1] for call in calls]
        of_calls = [target[0] if isinstance(target, tuple) else target for target in told]
        if not calls or any(labels.ndim != 1 or labels.is_floating_point() for labels in of_calls):
            return None
        given = [call.arguments.get('weight') for call in calls]
        pairs = zip(given, of_calls, strict=True)
        weights = [labels.new_ones(len(labels), dtype=torch.float) if w is None else w for w, labels in pairs]
        labels = torch.cat(of_calls)
        divisor = calls[0].arguments.get('avg_factor')
        objects = ((labels >= 0) & (labels < classes)).sum().clamp(min=1)
        return cls(labels, torch.cat(weights), objects if divisor is None else divisor)

    def objects(self, classes: int) -> Tensor:
        """Which places hold an object, and count."""
        return (self.labels >= 0) & (self.labels < classes) & (self.weights > 0)
