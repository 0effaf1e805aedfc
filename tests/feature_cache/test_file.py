"""The file of rows, and the views that it is made of."""

import random

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from mmkd.feature_cache.file import RowFile, Views


class Noisy(Dataset):
    """Draws from every random source of a pipeline."""

    def __init__(self):
        self.metainfo = dict(classes=('a', 'b'))

    def __len__(self):
        return 10

    def __getitem__(self, index):
        return index, random.random(), np.random.rand(), torch.rand(1).item()


def test_a_view_is_the_same_whoever_makes_it():
    alone = Views(Noisy(), range(10), seed=1)
    all_ = [alone[number] for number in range(30)]
    share = Views(Noisy(), [7, 8, 9, 0], seed=1)
    assert [share.place(number) for number in (0, 3, 4, 11)] == [(0, 7), (0, 0), (1, 7), (2, 0)]
    assert [share[number] for number in (0, 3, 4, 11)] == [all_[0 + 7], all_[0 + 0], all_[10 + 7], all_[20 + 0]]
    workers = DataLoader(alone, batch_size=4, sampler=range(30), num_workers=2, collate_fn=list)
    assert [sample for batch in workers for sample in batch] == all_
    assert len({sample[1:] for sample in all_}) == 30
    assert not {sample[1:] for sample in all_} & {Views(Noisy(), range(10), seed=2)[i][1:] for i in range(30)}


@pytest.fixture
def file(tmp_path):
    """Two views of ten images, in rows of three bytes: view, image, and their sum."""
    file = RowFile(tmp_path / 'rows.bin', views=2, images=10, size=3)
    file.create()
    assert file.partial.stat().st_size == file.bytes == 2 * 10 * (3 + 4)
    for share in (range(5), range(5, 10)):
        handle = file.open()
        places = [(view, image) for view in range(2) for image in share]
        file.write(handle, places, torch.tensor([[v, i, v + i] for v, i in places], dtype=torch.uint8))
    assert not file.is_whole()
    file.finish()
    assert file.is_whole()
    assert not file.partial.exists()
    return file


class Sampler:
    """A data set that knows its seed and its epoch."""

    def __init__(self):
        self.seed, self.epoch = 3, 0

    def __iter__(self):
        return iter([4, 2, 8, 6, 0, 1, 9])

    def __len__(self):
        return 7


def test_batches_in_the_order_of_the_plain_loader(file):
    plain = DataLoader(Noisy(), batch_size=3, sampler=Sampler(), drop_last=True)
    loader = file.loader(plain)
    assert loader.sampler is plain.sampler
    assert len(loader) == len(plain) == 2
    assert loader.dataset.metainfo == plain.dataset.metainfo
    rows = [batch['inputs'] for batch in loader]
    assert [batch[:, 1].tolist() for batch in rows] == [[4, 2, 8], [6, 0, 1]]
    assert all((batch[:, 2] == batch[:, 0] + batch[:, 1]).all() for batch in rows)


def test_the_view_is_drawn_from_torch_s_generator(file):
    loader = file.loader(DataLoader(Noisy(), batch_size=10, sampler=range(10)))

    def views(seed):
        torch.manual_seed(seed)
        return [tuple(batch['inputs'][:, 0].tolist()) for _ in range(5) for batch in loader]

    assert views(0) == views(0)
    assert len({*views(0), *views(1)}) == 10
    assert {view for epoch in views(0) for view in epoch} == {0, 1}


def test_of_one_view_nothing_is_drawn(tmp_path):
    file = RowFile(tmp_path / 'rows.bin', views=1, images=10, size=3)
    file.create()
    file.write(file.open(), [(0, i) for i in range(10)], torch.zeros(10, 3, dtype=torch.uint8))
    file.finish()
    dataset = file.loader(DataLoader(Noisy())).dataset
    before = torch.get_rng_state()
    assert dataset.__getitems__([1, 2])['inputs'].shape == (2, 3)
    assert torch.equal(torch.get_rng_state(), before)


def test_cut_off(file):
    with open(file.path, 'r+b') as stream:
        stream.truncate(139)
    assert not file.is_whole()


@pytest.mark.parametrize(
    ('place', 'content'),
    [(31, b'\7'), (0, bytes(140)), (30, bytes(3)), (0, b'\0\1\1\0\0\0'), (139, b'\0')],
    ids=['one bit', 'all zeros', 'a row of zeros', 'two rows changed about', 'a checksum'],
)
def test_damage_is_seen(file, place, content):
    assert file.is_sound()
    with open(file.path, 'r+b') as stream:
        stream.seek(place)
        stream.write(content)
    assert file.is_whole()
    assert not file.is_sound()


def test_what_was_not_filled_gets_no_name(tmp_path):
    file = RowFile(tmp_path / 'rows.bin', views=2, images=10, size=3)
    file.create()
    file.write(file.open(), [(1, i) for i in range(10)], torch.ones(10, 3, dtype=torch.uint8))
    with pytest.raises(OSError, match=r'what was written into .* is not what is in it'):
        file.finish()
    assert not file.path.exists()


def test_two_that_fill_the_same_file_do_not_share_it(tmp_path):
    one, other = (RowFile(tmp_path / 'rows.bin', views=1, images=2, size=3) for _ in range(2))
    for file in (one, other):
        file.create()
    handles = one.open(), other.open()
    one.write(handles[0], [(0, 0), (0, 1)], torch.full((2, 3), 1, dtype=torch.uint8))
    other.write(handles[1], [(0, 0)], torch.full((1, 3), 2, dtype=torch.uint8))
    one.finish()
    assert one.path.read_bytes()[:6] == bytes([1]) * 6
    with pytest.raises(OSError, match='not what is in it'):
        other.finish()
