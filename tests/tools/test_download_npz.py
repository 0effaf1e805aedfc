"""The converter of small images, with stand-ins for what downloads them."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest

from mmkd.datasets import ArrayDataset

TOOL = 'dataset_converters/download_npz.py'


def stand_in(root, train, download):
    """As torchvision's CIFAR100, with other numbers in both parts."""
    assert download
    n = 6 if train else 3
    images = np.random.RandomState(n).randint(0, 256, (n, 4, 4, 3)).astype(np.uint8)
    return SimpleNamespace(data=images, targets=[(i * n) % 5 for i in range(n)], classes=list('abcde'), root=root)


def test_cifar(run_tool, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr('torchvision.datasets.CIFAR100', stand_in)
    folder = tmp_path / 'new' / 'data'
    assert run_tool(TOOL, 'cifar100', folder) is None
    assert capsys.readouterr().out == f'wrote {folder / "cifar100.npz"}\n'
    for split in ('train', 'test'):
        data, source = (
            ArrayDataset(ann_file=str(folder / 'cifar100.npz'), split=split),
            stand_in('', split == 'train', 1),
        )
        assert [data.get_data_info(i)['gt_label'] for i in range(len(data))] == source.targets
        assert data.metainfo['classes'] == tuple('abcde')
        with np.load(folder / 'cifar100.npz', allow_pickle=False) as arrays:
            np.testing.assert_array_equal(arrays[f'{split}_x'], source.data)
    assert [path.name for path in folder.iterdir()] == ['cifar100.npz']
    said = run_tool(TOOL, 'cifar100', folder)
    assert said == f'error: {folder / "cifar100.npz"} exists already; delete it first if it is to be made again.'


def test_the_olivetti_faces_are_bytes_again(run_tool, tmp_path, monkeypatch):
    greys = np.random.RandomState(0).randint(0, 243, (400, 64, 64)).astype(np.uint8)
    greys[0, 0, :2] = 0, 242

    def fetch(data_home):
        person = np.arange(400) // 10
        return SimpleNamespace(images=np.float32(greys) / np.float32(greys.max()), target=person)

    monkeypatch.setattr('sklearn.datasets.fetch_olivetti_faces', fetch)
    assert run_tool(TOOL, 'olivetti', tmp_path) is None
    with np.load(tmp_path / 'olivetti.npz', allow_pickle=False) as arrays:
        assert arrays['faces'].dtype == np.uint8
        np.testing.assert_array_equal(arrays['faces'], greys)
        assert arrays['person'].tolist() == [person for person in range(40) for _ in range(10)]
    assert run_tool('dataset_converters/identities.py', 'olivetti', tmp_path / 'olivetti.npz', tmp_path / 'o') is None


@pytest.mark.parametrize(
    ('name', 'place', 'error', 'said'),
    [
        (
            'cifar10',
            'torchvision.datasets.CIFAR10',
            RuntimeError('File not found or corrupted.'),
            '(RuntimeError: File not found or corrupted); try again with a network, or put cifar-10-python.tar.gz',
        ),
        (
            'olivetti',
            'sklearn.datasets.fetch_olivetti_faces',
            OSError('no route'),
            '(OSError: no route); try again with a network.',
        ),
    ],
)
def test_without_a_network_it_says_so(run_tool, tmp_path, monkeypatch, name, place, error, said):
    def fail(*args, **kwargs):
        raise error

    monkeypatch.setattr(place, fail)
    told = run_tool(TOOL, name, tmp_path)
    assert told.startswith(f'error: {name} cannot be downloaded {said}')
    assert list(tmp_path.iterdir()) == []


def test_only_the_faces_need_scikit_learn(run_tool, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, 'sklearn', None)
    said = run_tool(TOOL, 'olivetti', tmp_path)
    assert said == 'error: olivetti: scikit-learn is not installed; pip install scikit-learn.'
    assert not list(tmp_path.iterdir())
