import cv2
import numpy as np
import pytest

from mmkd.datasets import FaceIdentities, FaceList, FacePairs

FACES = np.random.RandomState(0).randint(0, 256, (400, 8, 8)).astype(np.uint8)


def olivetti(path):
    np.savez(path, faces=FACES, person=np.arange(400) // 10)


def cifar100(path):
    random = np.random.RandomState(0)
    images = {
        name: random.randint(0, 256, (n, 4, 4, 3)).astype(np.uint8) for name, n in (('train', 300), ('test', 2000))
    }
    labels = dict(train=np.arange(300) % 100, test=np.arange(2000) % 100)
    np.savez(
        path, **{f'{name}_x': its for name, its in images.items()}, **{f'{name}_y': its for name, its in labels.items()}
    )
    return images


def test_olivetti(run_tool, tmp_path):
    olivetti(tmp_path / 'o.npz')
    folder = tmp_path / 'new' / 'olivetti'
    assert run_tool('dataset_converters/identities.py', 'olivetti', tmp_path / 'o.npz', folder) is None
    train = FaceList(data_root=str(folder), ann_file='train.txt', data_prefix='train')
    assert (len(train), train.labels.tolist()) == (300, (np.arange(300) // 10).tolist())
    np.testing.assert_array_equal(cv2.imread(train.get_data_info(57)['img_path'])[..., 0], FACES[57])
    test = FaceIdentities(data_root=str(folder), ann_file='test.txt', data_prefix='test')
    assert (len(test), int(test.metainfo['protocol'].same.sum())) == (100, 450)
    pairs = FacePairs(data_root=str(folder), ann_file='pairs.txt', data_prefix='test', suffix='.png')
    protocol = pairs.metainfo['protocol']
    assert protocol.folds == tuple(range(90, 900, 90))
    assert protocol.same.tolist() == ([True] * 45 + [False] * 45) * 10
    seen = list(zip(protocol.first.tolist(), protocol.second.tolist()))
    assert len(set(map(frozenset, seen))) > 850
    people = [pairs.get_data_info(i)['img_path'].split('/')[-2] for i in range(len(pairs))]
    assert all((people[a] == people[b]) == same for (a, b), same in zip(seen, protocol.same))
    assert set(people) == {f'p{person}' for person in range(30, 40)}
    first = (folder / 'pairs.txt').read_text()
    assert run_tool('dataset_converters/identities.py', 'olivetti', tmp_path / 'o.npz', tmp_path / 'again') is None
    assert (tmp_path / 'again' / 'pairs.txt').read_text() == first


def test_cifar100s_classes(run_tool, tmp_path):
    images = cifar100(tmp_path / 'c.npz')
    assert run_tool('dataset_converters/identities.py', 'cifar100', tmp_path / 'c.npz', tmp_path / 'cifar') is None
    train = FaceList(data_root=str(tmp_path / 'cifar'), ann_file='train.txt', data_prefix='train')
    assert (len(train), sorted(set(train.labels.tolist()))) == (240, list(range(80)))
    first = cv2.imread(train.get_data_info(0)['img_path'])  # the first image of class 1, in BGR
    np.testing.assert_array_equal(first, images['train'][1][..., ::-1])
    test = FaceIdentities(data_root=str(tmp_path / 'cifar'), ann_file='test.txt', data_prefix='test')
    assert len(test) == 400
    assert (tmp_path / 'cifar' / 'pairs.txt').read_text().startswith('10\t300\n')


@pytest.mark.parametrize('content', [dict(a=np.zeros(3)), dict(faces=FACES)])
def test_mistakes_are_told(run_tool, tmp_path, content):
    np.savez(tmp_path / 'o.npz', **content)
    said = run_tool('dataset_converters/identities.py', 'olivetti', tmp_path / 'o.npz', tmp_path / 'x')
    assert 'does not hold the arrays that are needed' in said
    assert not (tmp_path / 'x').exists()
    said = run_tool('dataset_converters/identities.py', 'olivetti', tmp_path / 'none.npz', tmp_path / 'x')
    assert said == (
        f'error: {tmp_path / "none.npz"} does not exist; '
        'get it with: python tools/dataset_converters/download_npz.py olivetti'
    )
    olivetti(tmp_path / 'o.npz')
    said = run_tool('dataset_converters/identities.py', 'olivetti', tmp_path / 'o.npz', tmp_path)
    assert said == f'error: {tmp_path} exists already; delete it first if it is to be made again.'


@pytest.mark.parametrize('damage', [lambda file: file[: len(file) // 2], lambda file: b'', lambda file: b'text'])
def test_a_damaged_file_is_told(run_tool, tmp_path, damage):
    olivetti(tmp_path / 'o.npz')
    (tmp_path / 'o.npz').write_bytes(damage((tmp_path / 'o.npz').read_bytes()))
    said = run_tool('dataset_converters/identities.py', 'olivetti', tmp_path / 'o.npz', tmp_path / 'x')
    assert said.startswith(f'error: {tmp_path / "o.npz"} is damaged or does not hold the arrays that are needed (')
    assert said.endswith('); get it again with: python tools/dataset_converters/download_npz.py olivetti')
    assert [path.name for path in tmp_path.iterdir()] == ['o.npz']
