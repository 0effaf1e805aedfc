"""Embeddings: networks that predict a vector, or are trained by a head with a margin."""

import inspect
from typing import Any

from torch import Tensor, nn

from mmkd.features.capture import ModuleInput
from mmkd.tasks.classification import Classification


class Embedding(Classification):
    """As a classifier, but while it trains its head may make the score of the right class worse by a margin.

    So does mmpretrain's ``ArcFaceClsHead``. With the margin, the student's scores would be lower than the teacher's
    where both are the same, and the soft loss would teach it to be surer of the right class than the teacher is. So the
    student's head is run once more, without the labels, for the scores that are compared. The student's own loss has
    the margin as ever. Who is verified is not among the people whom the heads know, so these have no accuracy.
    """

    has_accuracy = False
    head_end = ModuleInput('head')

    @classmethod
    def parts_of(cls, network: nn.Module) -> list[str]:
        """The head, if it needs labels for its scores; or any head of a network that predicts an embedding."""
        embeds = hasattr(network, 'embedding')
        return [part for part in super().parts_of(network) if embeds or takes_labels(getattr(network, part))]

    def own_scores(self, recorded: Any) -> Tensor:
        """Run the head without labels on the same input."""
        return self.student.get_submodule('head')(recorded[0])


def takes_labels(head: nn.Module) -> bool:
    """Whether a head's scores depend on the labels."""
    return 'target' in inspect.signature(head.forward).parameters
