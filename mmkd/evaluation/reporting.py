"""Metrics by name, and log lines about what they do not show."""

import logging
from collections.abc import Sequence

import numpy as np
from mmengine.logging import print_log

from mmkd.evaluation.verification import Separation, accept_rates, allowed_of, check_pairs

SEPARATE = 0.5  # standard deviations; at the best threshold 60 % of as many pairs of both kinds would be right


def tar(scores: np.ndarray, same: np.ndarray, rates: Sequence[float]) -> dict[str, float]:
    """TAR at FAR by name; a rate too low for the number of pairs is said and left out."""
    check_pairs(same)
    say_unreported('TAR', 'FAR', rates, int((~same).sum()), 'pairs of different people')
    return {f'TAR@FAR={rate:g}': found for rate, found in accept_rates(scores[same], scores[~same], rates).items()}


def over_splits(rows: Sequence[dict[str, float]]) -> dict[str, float]:
    """The mean of each metric that all splits have, and its deviation if there are several."""
    found = {}
    for name in rows[0] if rows else ():
        values = [row[name] for row in rows if name in row]
        if len(values) < len(rows):
            print_log(f'{name} is not reported: only {len(values)} of {len(rows)} splits have it.', 'current')
            continue
        found[name] = float(np.mean(values))
        if len(rows) > 1:
            found[f'{name}_std'] = float(np.std(values))
    return found


def in_percent(rates: dict[str, float]) -> dict[str, float]:
    """A percentage, as the toolboxes report accuracy."""
    return {name: 100 * float(rate) for name, rate in rates.items()}


def say_unreported(metric: str, rate: str, rates: Sequence[float], impostors: int, kind: str) -> None:
    """Log rates that are too low for the number of pairs."""
    low = [f'{one:g}' for one in rates if not allowed_of(one, impostors)]
    if low:
        print_log(
            f'{metric} at {rate} {", ".join(low)} is not reported: of {impostors:,} {kind} not even one may be '
            f'accepted there{f", and one is {1 / impostors:.1g}" if impostors else ""}.',
            'current',
        )


def say_separation(scores: np.ndarray, same: np.ndarray) -> None:
    """Log how similar both kinds of pairs are, and warn if they hardly differ."""
    check_pairs(same)
    apart = Separation.of(scores, same)
    print_log(
        f'Mean similarity {apart.same:.3f} of {int(same.sum()):,} pairs of the same person, {apart.different:.3f} of '
        f'{int((~same).sum()):,} pairs of different people: {apart.distance:.2f} standard deviations apart.',
        'current',
    )
    if apart.distance < SEPARATE:
        print_log(
            'The two kinds of pairs hardly differ. If the network is trained, its images are not those it was trained '
            'on: are they cropped and aligned alike, are the channels in the same order (data_preprocessor.to_rgb), '
            'and are mean and std the same (127.5 each for most)?',
            'current',
            logging.WARNING,
        )
