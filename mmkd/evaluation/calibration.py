"""How far the confidence of a classifier is from its accuracy."""

import torch
from torch import Tensor

BINS = 15


def calibration_error(scores: Tensor, labels: Tensor, bins: int = BINS) -> float:
    """The expected calibration error (ECE), in percent.

    Images are put into bins of equal width by their confidence, which is their highest score; a bin has its upper edge.
    The error is the mean over the images of how far apart confidence and accuracy of their bins are (Guo et al. 2017).

    Args:
        scores: Probabilities (images, classes).
        labels: Of the images.
        bins: How many.
    """
    confidence, predicted = scores.double().max(1)
    right = (predicted == labels).double()
    edges = torch.linspace(0, 1, bins + 1, dtype=torch.float64, device=scores.device)
    places = (torch.bucketize(confidence, edges) - 1).clamp(0, bins - 1)  # rounding may put a score above 1
    gaps = torch.zeros(bins, dtype=torch.float64, device=scores.device).index_add(0, places, confidence - right)
    return 100 * float(gaps.abs().sum()) / len(labels)
