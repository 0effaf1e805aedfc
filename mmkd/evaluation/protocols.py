"""Protocols of verification and identification: which embeddings are compared, and which metrics follow.

A data set reads one from its files and hands it to the metric as ``metainfo['protocol']``.
"""

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from mmengine.logging import print_log

from mmkd.evaluation.identification import search
from mmkd.evaluation.templates import pair_scores, pool, unit
from mmkd.evaluation.verification import Separation, accept_rates, allowed_of, check_pairs, fold_accuracies

SEPARATE = 0.5  # standard deviations; at the best threshold 60 % of as many pairs of both kinds would be right


class Protocol(ABC):
    """Compares embeddings of all images of a data set. Its deep copy is itself, since it can be large."""

    def __deepcopy__(self, memo: dict) -> 'Protocol':
        return self

    @abstractmethod
    def evaluate(self, embeddings: np.ndarray) -> dict[str, float]:
        """Metrics in percent, of (images, c) vectors of any length above zero."""


@dataclass(frozen=True, eq=False)
class Pairs(Protocol):
    """Pairs of images.

    Args:
        first: The index of each pair's first image.
        second: That of its second.
        same: Whether both are of one person.
        folds: How many parts the pairs are cut into for the accuracy, or where they are cut; 0 for none.
        rates: The FARs at which the TAR is given.
    """

    first: np.ndarray
    second: np.ndarray
    same: np.ndarray
    folds: int | Sequence[int] = 10
    rates: Sequence[float] = (1e-3, 1e-4)

    def evaluate(self, embeddings: np.ndarray) -> dict[str, float]:
        """Accuracy over the folds, and TAR at FAR."""
        scores = pair_scores(unit(embeddings), self.first, self.second)
        say_separation(scores, self.same)
        found = {}
        if self.folds:
            accuracies = fold_accuracies(scores, self.same, self.folds)
            found = dict(accuracy=accuracies.mean(), accuracy_std=accuracies.std())
        return in_percent({**found, **tar(scores, self.same, self.rates)})


def all_pairs(labels: np.ndarray, rates: Sequence[float]) -> Pairs:
    """Every image with every other."""
    first, second = np.triu_indices(len(labels), 1)
    return Pairs(first, second, labels[first] == labels[second], folds=0, rates=rates)


@dataclass(frozen=True, eq=False)
class Templates:
    """Which images and frames each template has: a row for each image of each template.

    Args:
        images: The index of the image.
        templates: The template's number.
        media: The medium within the template.
        people: By template, whose it is.
    """

    images: np.ndarray
    templates: np.ndarray
    media: np.ndarray
    people: dict[int, int] = field(default_factory=dict)

    def people_of(self, names: np.ndarray) -> np.ndarray:
        """The people of these templates."""
        return np.array([self.people[name] for name in names.tolist()])


Pool = Callable[[Templates], tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True, eq=False)
class Comparisons:
    """Pairs of templates."""

    templates: Templates
    first: np.ndarray
    second: np.ndarray
    same: np.ndarray

    def scores(self, pooled: Pool) -> np.ndarray:
        """The cosine of each pair."""
        names, vectors = pooled(self.templates)
        return pair_scores(vectors, np.searchsorted(names, self.first), np.searchsorted(names, self.second))


@dataclass(frozen=True, eq=False)
class Searches:
    """Probes searched in a gallery."""

    gallery: Templates
    probes: Templates


@dataclass(frozen=True, eq=False)
class TemplateProtocol(Protocol):
    """1:1 and 1:N of templates: IJB-A with ten splits, IJB-B and IJB-C with one list of pairs and two galleries.

    Every metric is the mean over its splits or galleries, with the deviation where there are several.

    Args:
        comparisons: One a split.
        searches: One a split or gallery.
        tar_rates: The FARs at which the TAR is given.
        ranks: The k of rank-k.
        tpir_rates: The FPIRs at which the TPIR is given.
        weights: (images,), what each image counts in its template.
        keep_norm: Whether the lengths of embeddings count, too.
    """

    comparisons: Sequence[Comparisons]
    searches: Sequence[Searches]
    tar_rates: Sequence[float]
    ranks: Sequence[int]
    tpir_rates: Sequence[float]
    weights: np.ndarray | None = None
    keep_norm: bool = False

    def evaluate(self, embeddings: np.ndarray) -> dict[str, float]:
        """TAR at FAR, rank-k and TPIR at FPIR."""
        pooled = partial(self._pooled, embeddings)
        rows: list[dict[str, float]] = []
        for one in self.comparisons:
            scores = one.scores(pooled)
            if not rows:
                say_separation(scores, one.same)
            rows.append(tar(scores, one.same, self.tar_rates))
        return in_percent({**over_splits(rows), **over_splits([self._found(one, pooled) for one in self.searches])})

    def _pooled(self, embeddings: np.ndarray, of: Templates) -> tuple[np.ndarray, np.ndarray]:
        return pool(embeddings, of.images, of.templates, of.media, self.weights, self.keep_norm)

    def _found(self, one: Searches, pooled: Pool) -> dict[str, float]:
        (gallery_names, gallery), (probe_names, probes) = pooled(one.gallery), pooled(one.probes)
        found = search(probes, one.probes.people_of(probe_names), gallery, one.gallery.people_of(gallery_names))
        say_unreported('TPIR', 'FPIR', self.tpir_rates, len(found.strangers), 'probes without a mate')
        if not len(found.ranks):
            print_log('No probe has a mate in the gallery, so there is no rank and no TPIR.', 'current')
        named = {f'rank-{rank}': rate for rank, rate in found.rank_rates(self.ranks).items()}
        return {
            **named,
            **{f'TPIR@FPIR={rate:g}': tpir for rate, tpir in found.open_set_rates(self.tpir_rates).items()},
        }


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
