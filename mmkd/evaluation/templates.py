"""A template is one person's images and frames of videos; they are pooled to one vector."""

from collections.abc import Callable

import numpy as np
import torch
from torch.nn import functional as F  # noqa: N812 (its usual name)

from mmkd.errors import UserError

_CHUNK = 65536  # rows per block


def unit(vectors: np.ndarray) -> np.ndarray:
    """Divide each row by its length."""
    return F.normalize(torch.from_numpy(vectors)).numpy()


def check_embeddings(embeddings: np.ndarray, name_of: Callable[[int], str] = 'image {}'.format) -> None:
    """Raise an error for rows without a direction."""
    lengths = np.linalg.norm(embeddings, axis=1)
    bad = np.flatnonzero(~np.isfinite(lengths) | (lengths == 0))
    if len(bad):
        kind = 'has length zero' if lengths[bad[0]] == 0 else 'is not finite'
        raise UserError(
            f'The embedding of {name_of(int(bad[0]))} {kind} ({len(bad):,} of {len(embeddings):,} are so bad); the '
            'network diverged, or its checkpoint does not fit it: look at its loss, and at what the log says of '
            'missing keys.'
        )


def pool(
    embeddings: np.ndarray,
    rows: np.ndarray,
    templates: np.ndarray,
    media: np.ndarray,
    weights: np.ndarray | None = None,
    keep_norm: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """The mean of each medium's frames, then the mean of a template's media, of length one.

    Args:
        embeddings: (images, c).
        rows: (n,), which image each place of a template is.
        templates: (n,), the template of each place.
        media: (n,), and the medium within it: frames of one video have the same.
        weights: (images,), what each image counts; insightface takes the detector's score.
        keep_norm: Whether an embedding counts by its length, too, which is small for bad images; else all have one.

    Returns:
        The templates in ascending order, and their vectors.
    """
    keys, inverse = np.unique(np.stack([templates, media], 1), axis=0, return_inverse=True)
    medium_of = torch.from_numpy(inverse.reshape(-1))
    names, inverse = np.unique(keys[:, 0], return_inverse=True)
    template_of = torch.from_numpy(inverse)
    means = torch.zeros(len(keys), embeddings.shape[1])
    for begin in range(0, len(rows), _CHUNK):
        part = slice(begin, begin + _CHUNK)
        vectors = torch.from_numpy(embeddings[rows[part]].astype(np.float32))
        if not keep_norm:
            vectors = F.normalize(vectors)
        if weights is not None:
            vectors *= torch.from_numpy(weights[rows[part]].astype(np.float32))[:, None]
        means.index_add_(0, medium_of[part], vectors)
    means /= torch.bincount(medium_of)[:, None]
    pooled = torch.zeros(len(names), embeddings.shape[1]).index_add_(0, template_of, means)
    pooled /= torch.bincount(template_of)[:, None]
    check_embeddings(pooled.numpy(), lambda place: f'template {names[place]}')
    return names, F.normalize(pooled).numpy()


def pair_scores(vectors: np.ndarray, first: np.ndarray, second: np.ndarray, chunk: int = _CHUNK) -> np.ndarray:
    """The cosine of each pair of rows of unit vectors, computed block by block."""
    scores = np.empty(len(first), np.float32)
    for begin in range(0, len(first), chunk):
        part = slice(begin, begin + chunk)
        np.einsum('ij,ij->i', vectors[first[part]], vectors[second[part]], out=scores[part])
    return scores
