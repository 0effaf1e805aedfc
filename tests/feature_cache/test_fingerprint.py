"""The fingerprint changes with everything that matters."""

import os

import pytest
import torch
from mmengine.dataset import BaseDataset

from mmkd.feature_cache.fingerprint import fingerprint


class Files(BaseDataset):
    def load_data_list(self):
        return [dict(img_path=str(path), label=i) for i, path in enumerate(sorted(self.data_prefix['img'].iterdir()))]

    def _join_prefix(self):
        pass


@pytest.fixture
def folder(tmp_path):
    for name in 'abc':
        (tmp_path / name).write_text(name)
    return tmp_path


def of(folder, weight=1.0, mean=0.0, name='w', dtype=torch.float32, settings=(dict(scale=3), 'bfloat16'), **options):
    tensors = {name: torch.tensor([weight], dtype=dtype), 'mean': torch.tensor(mean)}
    return fingerprint(tensors, Files(data_prefix=dict(img=folder), **options), *settings)


CHANGES = [
    dict(weight=1.0000001),
    dict(mean=0.5),
    dict(name='v'),
    dict(dtype=torch.float64),
    dict(settings=(dict(scale=4), 'bfloat16')),
    dict(settings=(dict(scale=3), 'float16')),
    dict(indices=2),
    dict(indices=[0, 2, 1]),
]


@pytest.mark.parametrize('change', CHANGES, ids=str)
def test_it_tells_of_every_change(folder, change):
    assert of(folder) == of(folder)
    assert of(folder, **change) != of(folder)


def test_it_tells_of_other_files_under_the_same_names(folder):
    before = of(folder)
    os.utime(folder / 'b', (1, 1))
    assert of(folder) != before
    before = of(folder)
    os.rename(folder / 'c', folder / 'd')
    assert of(folder) != before


def test_of_images_in_several_files_and_keys_that_are_no_strings(folder):
    class Pairs(Files):
        def load_data_list(self):
            return [dict(img_path=[str(folder / 'a'), str(folder / 'b')])]

    def of_pairs():
        return fingerprint({}, Pairs(data_prefix=dict(img=folder)), {1: 'x', ('a', 'b'): 'y'})

    before = of_pairs()
    assert of_pairs() == before
    os.utime(folder / 'b', (1, 1))
    assert of_pairs() != before


def test_a_data_set_that_tells_nothing_has_its_length():
    assert fingerprint({}, range(3)) != fingerprint({}, range(4))
