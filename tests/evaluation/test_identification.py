import numpy as np
import pytest

from mmkd.evaluation.identification import search
from tests.evaluation import slow


@pytest.mark.parametrize('seed', range(15))
@pytest.mark.parametrize('chunk', [1, 7, 1000])
def test_equals_the_search_probe_by_probe(seed, chunk):
    random = np.random.RandomState(seed)
    gallery, probes = (random.choice([-0.5, 0.5], (n, 4)).astype(np.float32) for n in (9, 30))  # few values, many ties
    gallery_people, probe_people = random.randint(3, 9, 9), random.randint(0, 12, 30)
    found = search(probes, probe_people, gallery, gallery_people, chunk)
    ranks, mates, strangers = slow.searched(probes, probe_people, gallery, gallery_people)
    assert found.ranks.tolist() == ranks
    assert found.mates.tolist() == mates
    assert found.strangers.tolist() == strangers
    assert found.rank_rates((1, 5)) == {k: pytest.approx(np.mean([rank <= k for rank in ranks])) for k in (1, 5)}
    rates = (0.5, 0.1, 0.01)
    wanted = {rate: slow.tpir_at_fpir(mates, strangers, rate) for rate in rates}
    assert found.open_set_rates(rates) == pytest.approx({k: v for k, v in wanted.items() if v is not None})


def test_by_hand():
    gallery = np.array([[1, 0], [0, 1], [0.6, 0.8]], np.float32)
    probes = np.array([[0.8, 0.6], [0, 1], [-1, 0]], np.float32)
    # person 7 has two templates; scores of people 7 and 8: (0.96, 0.6), (0.8, 1); without a mate: (-0.6, 0)
    found = search(probes, np.array([7, 7, 5]), gallery, np.array([7, 8, 7]))
    assert found.ranks.tolist() == [1, 2]
    assert found.mates == pytest.approx([0.96, 0.8])
    assert found.strangers.tolist() == [0]
    assert found.rank_rates((1, 2)) == {1: 0.5, 2: 1}
    assert found.open_set_rates((1.0, 0.1)) == {1.0: 1}  # with a single stranger, a rate of 0.1 allows none


def test_without_probes_that_have_a_mate_there_is_no_rate():
    found = search(np.eye(2), np.array([1, 2]), np.eye(2), np.array([3, 4]))
    assert (found.rank_rates((1,)), found.open_set_rates((1.0,))) == ({}, {})


def test_who_scores_everybody_alike_finds_nobody():
    found = search(np.ones((3, 1)), np.array([0, 1, 2]), np.ones((4, 1)), np.array([0, 1, 2, 3]))
    assert found.ranks.tolist() == [4, 4, 4]
