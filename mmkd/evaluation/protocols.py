"""Protocols of verification and identification: which embeddings are compared, and which metrics follow.

A data set reads one from its files and hands it to the metric as ``metainfo['protocol']``.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from mmengine.logging import print_log

from mmkd.evaluation.identification import search
from mmkd.evaluation.reporting import in_percent, over_splits, say_separation, say_unreported, tar
from mmkd.evaluation.templates import pair_scores, pool, unit
from mmkd.evaluation.verification import fold_accuracies


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
