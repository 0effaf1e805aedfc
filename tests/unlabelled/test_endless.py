from itertools import islice

import pytest
import torch
from mmengine.dataset import DefaultSampler, InfiniteSampler
from torch.utils.data import BatchSampler, DataLoader

from mmkd.unlabelled.endless import endless


def numbers(sampler: type, batches: int, place: int = 0, workers: int = 0) -> list[list[int]]:
    """The first batches of three, drawn from seven numbers."""
    data = torch.arange(7)
    batch_sampler = BatchSampler(sampler(data, shuffle=True, seed=3), 3, drop_last=False)
    loader = endless(DataLoader(data, batch_sampler=batch_sampler, num_workers=workers), place)
    return [batch.tolist() for batch in islice(loader, batches)]


def flat(batches: list[list[int]]) -> list[int]:
    return [number for batch in batches for number in batch]


@pytest.mark.parametrize('sampler', [DefaultSampler, InfiniteSampler])
def test_it_never_ends_and_goes_on_at_any_place(sampler):
    whole = numbers(sampler, 12)
    assert min(flat(whole).count(number) for number in range(7)) >= 4
    for place in (1, 2, 3, 7):
        assert numbers(sampler, 12 - place, place) == whole[place:]


def test_each_round_has_an_order_of_its_own():
    first, second = (flat(numbers(DefaultSampler, 6)[part]) for part in (slice(3), slice(3, 6)))
    assert sorted(first) == sorted(second) == list(range(7))
    assert first != second


def test_workers_hand_out_the_same():
    assert numbers(InfiniteSampler, 4, 5, workers=1) == numbers(InfiniteSampler, 9)[5:]
