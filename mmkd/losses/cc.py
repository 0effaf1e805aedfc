"""Correlation congruence (CC, Peng et al., arXiv 1904.01802), in RepDistiller's form."""

from math import prod

from torch import Tensor, nn

from mmkd.losses.common import check_count
from mmkd.losses.feature_loss import LearnedFeatureLoss
from mmkd.registry import MODELS


class _Embeddings(nn.Module):
    """One linear map of each network's feature."""

    def __init__(self, student: int, teacher: int, dimensions: int):
        super().__init__()
        self.student, self.teacher = nn.Linear(student, dimensions), nn.Linear(teacher, dimensions)

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        """The mean product of the distances of two neighbours in the batch."""
        distance = (self.student(student.flatten(1)) - self.teacher(teacher.flatten(1))).abs()
        return (distance[:-1] * distance[1:]).sum() / max(len(distance) - 1, 1)


@MODELS.register_module()
class CCLoss(LearnedFeatureLoss):
    """Both features' linear embeddings; the product of the absolute differences of two neighbours in the batch.

    Published on pooled features. Features of any shape; both embeddings learn.

    Args:
        dimensions (int): Of the embeddings. Defaults to 128.
        loss_weight (float): Defaults to 0.02, as in RepDistiller; torchdistill's CC is another loss.
    """

    def __init__(self, dimensions: int = 128, loss_weight: float = 0.02):
        super().__init__(loss_weight)
        self.dimensions = check_count(self.name, 'dimensions', dimensions)

    def part(self, student: tuple[int, int, int], teacher: tuple[int, int, int]) -> nn.Module:
        """The embeddings of features of these shapes."""
        return _Embeddings(prod(student), prod(teacher), self.dimensions)
