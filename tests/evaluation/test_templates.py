import numpy as np
import pytest

from mmkd.errors import UserError
from mmkd.evaluation import templates
from mmkd.evaluation.templates import check_embeddings, pair_scores, pool, unit
from tests.evaluation import slow


@pytest.mark.parametrize('keep_norm', [False, True])
@pytest.mark.parametrize('weighted', [False, True])
@pytest.mark.parametrize('seed', range(5))
def test_equals_the_mean_of_the_medias_means(seed, weighted, keep_norm, monkeypatch):
    monkeypatch.setattr(templates, '_CHUNK', 7)
    random = np.random.RandomState(seed)
    embeddings = random.randn(20, 5).astype(np.float32)
    images, names, media = random.randint(0, 20, 40), random.choice([3, 14, 15, 92], 40), random.randint(0, 4, 40)
    images, names, media = [*images, 4], [*names, 100], [*media, 2]  # a medium with one image
    weights = random.rand(20) + 0.1 if weighted else None
    found, vectors = pool(embeddings, *map(np.array, (images, names, media)), weights, keep_norm)
    wanted = slow.pooled(embeddings, images, names, media, weights, keep_norm)
    assert found.tolist() == sorted(wanted)
    np.testing.assert_allclose(vectors, [wanted[name] for name in found], atol=1e-5)


def test_by_hand():
    embeddings = np.array([[3, 0], [0, 2], [0, 5]], np.float32)
    # the two frames of medium 1 count as much as the one image of medium 0
    names, vectors = pool(embeddings, np.array([0, 1, 2]), np.array([8, 8, 8]), np.array([0, 1, 1]))
    assert names.tolist() == [8]
    np.testing.assert_allclose(vectors, [[0.5**0.5, 0.5**0.5]], rtol=1e-6)
    _, vectors = pool(embeddings, np.array([0, 1, 2]), np.array([8, 8, 8]), np.array([0, 1, 1]), keep_norm=True)
    np.testing.assert_allclose(vectors, unit(np.array([[3, 3.5]])), rtol=1e-6)


def test_a_template_whose_images_cancel_out_is_told():
    with pytest.raises(UserError, match='template 6 has length zero'):
        pool(np.array([[1.0, 0], [-1, 0]]), np.array([0, 1]), np.array([6, 6]), np.array([0, 1]))


@pytest.mark.parametrize('chunk', [1, 3, 100])
def test_pairs_are_scored_in_chunks_as_at_once(chunk):
    random = np.random.RandomState(0)
    vectors = unit(random.randn(9, 6).astype(np.float32))
    first, second = random.randint(0, 9, (2, 20))
    wanted = [(vectors[a] * vectors[b]).sum() for a, b in zip(first, second)]
    np.testing.assert_allclose(pair_scores(vectors, first, second, chunk), wanted, rtol=1e-5)


@pytest.mark.parametrize(
    ('value', 'words'), [(np.nan, r'is not finite \(2 of 5 are so bad\)'), (0, r'has length zero \(2 of 5')]
)
def test_embeddings_without_a_direction_are_told(value, words):
    embeddings = np.ones((5, 3), np.float32)
    embeddings[[1, 3]] = value
    with pytest.raises(UserError, match=f'The embedding of image 1 {words}'):
        check_embeddings(embeddings)
    check_embeddings(np.ones((2, 3)))
