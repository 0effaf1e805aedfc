"""Identification, "whose face is it?": probes are searched in a gallery. Rank-k, and TPIR at FPIR."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mmkd.evaluation.verification import accept_rates

_CHUNK = 1024  # probes at once


@dataclass(frozen=True)
class Search:
    """The results of searching all probes in a gallery.

    Args:
        ranks: Of each probe that has a mate, the mate's rank, from 1 on.
        mates: Of the same, the mate's score.
        strangers: Of each probe without a mate, the best score.
    """

    ranks: np.ndarray
    mates: np.ndarray
    strangers: np.ndarray

    def rank_rates(self, ranks: Sequence[int]) -> dict[int, float]:
        """The share of probes with a mate whose mate is among the first k people; none if no probe has one."""
        return {rank: float(np.mean(self.ranks <= rank)) for rank in ranks} if len(self.ranks) else {}

    def open_set_rates(self, rates: Sequence[float]) -> dict[float, float]:
        """TPIR at FPIR: the share of mates' scores above a threshold that at most a given share of strangers exceed."""
        return accept_rates(self.mates, self.strangers, rates) if len(self.mates) else {}


def search(
    probes: np.ndarray, probe_people: np.ndarray, gallery: np.ndarray, gallery_people: np.ndarray, chunk: int = _CHUNK
) -> Search:
    """Search unit vectors among unit vectors.

    A person's score is the best of their templates. Who scores as much as the mate stands before it, so a network
    that gives everybody the same score finds nobody.

    Args:
        probes: (n, c).
        probe_people: (n,), whose they are; nobody's in the gallery, if they have no mate.
        gallery: (m, c).
        gallery_people: (m,).
        chunk: How many probes are scored at once.
    """
    order = np.argsort(gallery_people, kind='stable')
    gallery = gallery[order]
    people, starts = np.unique(gallery_people[order], return_index=True)
    place = np.searchsorted(people, probe_people).clip(max=len(people) - 1)
    mated = people[place] == probe_people
    ranks, mates, strangers = [], [], []
    for begin in range(0, len(probes), chunk):
        part = slice(begin, begin + chunk)
        scores = np.maximum.reduceat(probes[part] @ gallery.T, starts, axis=1)
        has_mate = mated[part]
        own = np.take_along_axis(scores, place[part, None], axis=1)[has_mate]
        ranks.append((scores[has_mate] >= own).sum(axis=1))
        mates.append(own[:, 0])
        strangers.append(scores[~has_mate].max(axis=1))
    return Search(*(np.concatenate(found) for found in (ranks, mates, strangers)))
