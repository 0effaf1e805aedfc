"""The calibration error, against the definition with a loop for each bin."""

import pytest
import torch

from mmkd.evaluation.calibration import calibration_error


def slow(scores, labels, bins):
    """In percent, by the text of Guo et al. 2017."""
    error = 0.0
    for place in range(bins):
        inside = []
        for row, label in zip(scores.tolist(), labels.tolist()):
            confidence = max(row)
            if place / bins < confidence <= (place + 1) / bins:
                inside.append((confidence, row.index(confidence) == label))
        if inside:
            accuracy = sum(right for _, right in inside) / len(inside)
            confidence = sum(confidence for confidence, _ in inside) / len(inside)
            error += len(inside) / len(labels) * abs(accuracy - confidence)
    return 100 * error


@pytest.mark.parametrize(
    ('images', 'classes', 'sharpness', 'bins'), [(317, 7, 3.0, 15), (64, 3, 0.5, 10), (5, 20, 9.0, 15)]
)
def test_equals_the_slow_one(images, classes, sharpness, bins):
    draw = torch.Generator().manual_seed(images)
    logits = sharpness * torch.randn(images, classes, generator=draw, dtype=torch.float64)
    labels = torch.where(
        torch.rand(images, generator=draw) < 0.6, logits.argmax(1), torch.randint(classes, (images,), generator=draw)
    )
    scores = logits.softmax(1)
    assert calibration_error(scores, labels, bins) == pytest.approx(slow(scores, labels, bins), abs=1e-9)


def test_a_bin_has_its_upper_edge():
    """0.5 and 0.375 of 8 bins meet different neighbours if the edge belongs to the upper bin."""
    scores = torch.tensor([[0.5, 0.3, 0.2], [0.375, 0.32, 0.305], [0.4, 0.31, 0.29], [0.25, 0.55, 0.2]])
    labels = torch.tensor([0, 1, 0, 1])
    assert calibration_error(scores, labels, 8) == pytest.approx(slow(scores, labels, 8), abs=1e-5)


def test_sure_and_right_is_none_and_sure_and_wrong_is_all():
    scores = torch.eye(4)
    assert calibration_error(scores, torch.arange(4)) == 0
    assert calibration_error(scores, torch.tensor([1, 2, 3, 0])) == 100
    assert calibration_error(scores, torch.tensor([0, 1, 3, 2])) == 50


def test_rounding_above_one_is_in_the_last_bin():
    scores = torch.tensor([[1.0 + 1e-7, 0.0]])
    assert calibration_error(scores, torch.tensor([0])) == pytest.approx(0, abs=1e-4)
