"""Features that the teacher's classifier understands (SRRL, Yang et al., ICLR 2021)."""

from collections.abc import Callable

from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 (its usual name)

from mmkd.losses.feature_loss import LearnedFeatureLoss
from mmkd.registry import MODELS


class _Translator(nn.Module):
    def __init__(self, student: int, teacher: int):
        super().__init__()
        self.translate = nn.Sequential(nn.Linear(student, teacher, bias=False), nn.BatchNorm1d(teacher), nn.ReLU())

    def forward(self, student: Tensor, teacher: Tensor, teacher_head: Callable[[Tensor], Tensor]) -> Tensor:
        """The mean squared differences of features and of the classifier's scores."""
        own, target = self.translate(student.mean((2, 3))), teacher.mean((2, 3))
        return F.mse_loss(own, target) + F.mse_loss(teacher_head(own), teacher_head(target))


@MODELS.register_module()
class SRRLLoss(LearnedFeatureLoss):
    """The mean squared difference of pooled features, plus that of the scores that the teacher's classifier gives them.

    The student's feature goes through a linear map, batch norm and ReLU first. Published on the last stage.

    Args:
        loss_weight (float): Defaults to 1.0, as in SimKD's toolbox.
    """

    needs = ('teacher_head',)

    def part(self, student: tuple[int, int, int], teacher: tuple[int, int, int]) -> nn.Module:
        """The translation between features of these widths."""
        return _Translator(student[0], teacher[0])
