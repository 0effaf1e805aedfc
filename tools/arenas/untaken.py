"""Forms of SSKD that were tried and not taken. A config names them by their path, ``arenas.untaken.<class>``."""

from functools import partial

from torch.nn.modules.batchnorm import _BatchNorm

from mmkd.distillers.sskd import SSKD
from mmkd.features.adapters import fitted_map
from mmkd.features.layout import Layout
from mmkd.features.least_squares import LeastSquares
from mmkd.losses.feature_mimic import FeatureMimicLoss, by_tensor


class SSKDWithDriftingNorms(SSKD):
    """The statistics of the student's batch norms go on changing where their stage is frozen."""

    def train(self, mode: bool = True) -> 'SSKDWithDriftingNorms':
        """Turn the batch norms of the student's frozen parts, too."""
        super().train(mode)
        norms = [module for part in self.frozen_modules for module in part.modules() if isinstance(module, _BatchNorm)]
        for norm in norms:
            norm.training = mode
        return self


def map_between_widths(student: Layout, teacher: Layout) -> LeastSquares | None:
    """None between equal widths, whatever the signs of the features."""
    return None if student.width == teacher.width else fitted_map(student, teacher)


class SSKDWithoutMapsOfEqualWidths(SSKD):
    """A stage that ends in a ReLU mimics a feature of its own width as it is, numbers below 0 and all."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.mimicking.comparison.map_of = map_between_widths


class BoundedMimicLoss(FeatureMimicLoss):
    """The channels' summed variance has another bound than 128.

    Args:
        bound: Infinite if there is none.
        kwargs: Of the loss.
    """

    def __init__(self, bound: float, **kwargs):
        super().__init__(**kwargs)
        self.scale_of = partial(by_tensor, bound=bound)
