"""Verification, "are two faces the same person's?": TAR at FAR, and accuracy over folds.

A pair is accepted if its score is above a threshold, never at it. So equal scores are accepted or refused together, and
a network that gives every pair the same score accepts none.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mmkd.errors import UserError


def accept_rates(genuine: np.ndarray, impostor: np.ndarray, rates: Sequence[float]) -> dict[float, float]:
    """The share of genuine scores that are accepted when at most a given share of impostor scores is.

    At each rate the threshold is the lowest that accepts no more of the impostors. A rate below one over the number of
    impostors is left out: such a threshold would lie above all of them, wherever that is.

    Args:
        genuine: Scores of pairs of the same person, or of probes with their mates.
        impostor: Scores of pairs of different people, or the best of probes without a mate.
        rates: From above 0 to 1.
    """
    found = {}
    for rate in rates:
        allowed = allowed_of(rate, len(impostor))
        if allowed:
            found[rate] = float(np.mean(genuine > _threshold(impostor, allowed)))
    return found


def allowed_of(rate: float, impostors: int) -> int:
    """The number of impostors that may be accepted at a rate."""
    return int(rate * impostors * (1 + 1e-12))  # 0.29 * 100 is less than 29


def _threshold(impostor: np.ndarray, allowed: int) -> float:
    """The lowest threshold that accepts no more than this number."""
    if allowed >= len(impostor):
        return -np.inf
    place = len(impostor) - 1 - allowed
    return np.partition(impostor, place)[place]


def check_pairs(same: np.ndarray) -> None:
    """Raise an error if all pairs are of one kind."""
    for number, kind in ((same.sum(), 'of the same person'), ((~same).sum(), 'of different people')):
        if not number:
            raise UserError(f'The protocol has no pair {kind}, so nothing can be told apart; mend its list of pairs.')


def fold_accuracies(scores: np.ndarray, same: np.ndarray, folds: int | Sequence[int] = 10) -> np.ndarray:
    """The accuracy of each fold, at the threshold that is best for all others.

    The folds are the pairs in their order, cut at given places or into so many parts, whose lengths differ by one at
    most.
    """
    scores = scores.astype(np.float64)
    parts = [fold for fold in np.array_split(np.arange(len(scores)), folds) if len(fold)]
    if len(parts) < 2 or (isinstance(folds, int) and len(parts) < folds):
        raise UserError(f'{len(scores)} pairs cannot be cut into {folds} folds; take from 2 to as many as there are.')
    accuracies = []
    for fold in parts:
        others = np.ones(len(scores), bool)
        others[fold] = False
        threshold = best_threshold(scores[others], same[others])
        accuracies.append(np.mean((scores[fold] > threshold) == same[fold]))
    return np.array(accuracies)


def best_threshold(scores: np.ndarray, same: np.ndarray) -> float:
    """The threshold with the most right answers; of several the highest.

    It lies in the middle between two neighbouring scores, or at an end: at the highest score none is accepted.
    """
    order = np.argsort(-scores, kind='stable')
    scores, same = scores[order], same[order]
    right = np.concatenate([[0], np.cumsum(np.where(same, 1, -1))])  # or beyond them, to accept none
    cuts = np.concatenate([[True], scores[1:] < scores[:-1], [True]])  # not between equal scores
    accepted = int(np.flatnonzero(cuts)[np.argmax(right[cuts])])
    if accepted == 0:
        return float(scores[0])
    return -np.inf if accepted == len(scores) else float(scores[accepted - 1] + scores[accepted]) / 2


@dataclass(frozen=True)
class Separation:
    """How far apart the scores of pairs of the same person and of different people lie."""

    same: float
    different: float
    distance: float  # of the two means, in standard deviations

    @classmethod
    def of(cls, scores: np.ndarray, same: np.ndarray) -> 'Separation':
        """The separation of all pairs."""
        own, other = scores[same].astype(np.float64), scores[~same].astype(np.float64)
        deviation = np.sqrt((own.var() + other.var()) / 2)
        difference = own.mean() - other.mean()
        return cls(own.mean(), other.mean(), float(difference / max(deviation, 1e-12)))
