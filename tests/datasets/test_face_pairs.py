import os
import pickle

import numpy as np
import pytest

from mmkd.datasets import FaceBin, FaceIdentities, FacePairs
from mmkd.errors import UserError
from tests.datasets.faces import encoded, face, python2_pickle, write, write_bin, write_lfw


@pytest.fixture
def log(monkeypatch):
    said = []
    monkeypatch.setattr('mmkd.datasets.faces.rows.print_log', lambda text, logger: said.append(text))
    return said


def lfw(folder, **options):
    return FacePairs(data_root=str(folder), ann_file='pairs.txt', data_prefix='images', **options)


def test_lfws_pairs(tmp_path):
    pairs = write_lfw(tmp_path)
    faces = lfw(tmp_path, rates=(0.1,))
    protocol = faces.metainfo['protocol']
    paths = [faces.get_data_info(i)['img_path'] for i in range(len(faces))]
    assert len(paths) == len(set(paths)) == len({image for pair in pairs for image in pair[:2]})
    place = {path: i for i, path in enumerate(paths)}
    name = '{0}/images/p{1}/p{1}_{2:04d}.jpg'
    wanted = [[place[name.format(tmp_path, *image)] for image in pair[:2]] for pair in pairs]
    assert np.stack([protocol.first, protocol.second], 1).tolist() == wanted
    assert protocol.same.tolist() == [pair[2] for pair in pairs]
    assert protocol.folds == (6, 12, 18)
    assert protocol.rates == (0.1,)
    assert faces.metainfo['protocol'] is protocol
    assert faces.get_cat_ids(0) == []


def test_one_fold_has_no_accuracy(tmp_path):
    write_lfw(tmp_path, folds=1, each=5)
    text = (tmp_path / 'pairs.txt').read_text()
    (tmp_path / 'pairs.txt').write_text(text.replace('1\t5\n', '5\n', 1))  # LFW's development pairs begin like this
    assert lfw(tmp_path).metainfo['protocol'].folds == 0


def test_missing_images_are_told_or_left_out_and_counted(tmp_path, log):
    pairs = write_lfw(tmp_path)
    gone = pairs[0][0]
    name = 'p{0}/p{0}_{1:04d}.jpg'.format(*gone)
    (tmp_path / 'images' / name).unlink()
    with pytest.raises(UserError, match=f'names images that are not in .*images: {name}; set data_prefix'):
        lfw(tmp_path)
    left = [pair for pair in pairs if gone not in pair]
    protocol = lfw(tmp_path, skip_missing=True).metainfo['protocol']
    assert protocol.same.tolist() == [pair[2] for pair in left]
    assert log == [f'FacePairs leaves out 1 images, {24 - len(left)} of 24 pairs, since images are missing.']
    kept = [sum(gone not in pair for pair in pairs[6 * fold : 6 * fold + 6]) for fold in range(4)]
    assert protocol.folds == tuple(np.cumsum(kept)[:3])


@pytest.mark.parametrize(
    ('change', 'words'),
    [
        (lambda text: text.replace('4\t3\n', '4\t4\n', 1), '4 folds of 4 and 4 pairs, which are 32, and lists 24'),
        (lambda text: text.replace('4\t3\n', '', 1), 'and not with LFW'),
        (lambda text: text.replace('4\t3\n', '0\t3\n', 1), "begins with '0 3'"),
        (
            lambda text: text.replace('\np5\t', '\nsomebody\t', 1),
            r'line \d+ names somebody, of whom .*images has no folder',
        ),
        (lambda text: text.replace('\np5\t', '\np5 x\t', 1), r'line \d+ is neither "name number number" nor'),
    ],
)
def test_bad_lists_of_pairs_are_told(tmp_path, change, words):
    write_lfw(tmp_path)
    text = (tmp_path / 'pairs.txt').read_text()
    assert change(text) != text
    (tmp_path / 'pairs.txt').write_text(change(text))
    with pytest.raises(UserError, match=words):
        lfw(tmp_path)


def test_all_pairs_of_identities(tmp_path, log):
    for place in range(5):
        write(tmp_path / f'{place}.jpg', face(place // 2, place))
    (tmp_path / 'list.txt').write_text(''.join(f'{place}.jpg {place // 2 + 30}\n' for place in range(5)))
    options = dict(ann_file=str(tmp_path / 'list.txt'), data_prefix=str(tmp_path))
    faces = FaceIdentities(**options)
    protocol = faces.metainfo['protocol']
    pairs = list(zip(protocol.first.tolist(), protocol.second.tolist(), protocol.same.tolist()))
    assert pairs == [(a, b, a // 2 == b // 2) for a in range(5) for b in range(a + 1, 5)]
    (tmp_path / '1.jpg').unlink()
    with pytest.raises(UserError, match=r'1\.jpg; set data_prefix'):
        FaceIdentities(**options)
    assert len(FaceIdentities(**options, skip_missing=True)) == 4
    assert log == ['FaceIdentities leaves out 1 images, since images are missing.']
    for text, words in (
        ('a.jpg\n', 'line 1 is no path with a label behind it: a.jpg'),
        ('a.jpg 1\n', 'lists 1 images; each is compared'),
    ):
        (tmp_path / 'list.txt').write_text(text)
        with pytest.raises(UserError, match=words):
            FaceIdentities(**options)


def test_lfws_images_have_the_landmarks_of_a_list(tmp_path):
    write_lfw(tmp_path)
    lines = [
        f'p{person}/p{person}_{photo:04d}.jpg {person} {photo} 2 3 4 5 6 7 8 9.5'
        for person in range(6)
        for photo in range(1, 5)
    ]
    (tmp_path / 'landmarks.txt').write_text('\n'.join(lines))
    faces = lfw(tmp_path, landmarks='landmarks.txt')
    for place in range(len(faces)):
        info = faces.get_data_info(place)
        person, photo = info['img_path'][-10], info['img_path'][-5]
        assert info['landmarks'].tolist() == [[int(person), int(photo)], [2, 3], [4, 5], [6, 7], [8, 9.5]]
    (tmp_path / 'landmarks.txt').write_text('\n'.join(lines[1:]))
    with pytest.raises(UserError, match=r'landmarks.txt has no landmarks of p0/p0_0001.jpg; it must name all images'):
        lfw(tmp_path, landmarks='landmarks.txt')
    (tmp_path / 'landmarks.txt').write_text('p0/p0_0001.jpg 1 2 3\n')
    with pytest.raises(UserError, match=r'landmarks.txt, line 1 must end in ten numbers'):
        lfw(tmp_path, landmarks='landmarks.txt')
    with pytest.raises(UserError, match=r'none.txt does not exist; list the images in it, a path and ten numbers'):
        lfw(tmp_path, landmarks='none.txt')


def test_identities_with_landmarks(tmp_path):
    for place in range(3):
        write(tmp_path / f'{place}.jpg', face(place // 2, place))
    (tmp_path / 'list.txt').write_text(
        ''.join(f'{place}.jpg {place // 2} {place} 1 2 3 4 5 6 7 8 9\n' for place in range(3))
    )
    faces = FaceIdentities(ann_file=str(tmp_path / 'list.txt'), data_prefix=str(tmp_path), landmarks=True)
    assert [faces.get_data_info(i)['landmarks'][0].tolist() for i in range(3)] == [[0, 1], [1, 1], [2, 1]]
    assert faces.metainfo['protocol'].same.tolist() == [True, False, False]


def test_a_bin_of_python_2(tmp_path):
    same = write_bin(tmp_path / 'lfw.bin')
    faces = FaceBin(data_root=str(tmp_path), ann_file='lfw.bin', folds=3)
    protocol = faces.metainfo['protocol']
    assert len(faces) == 24
    assert protocol.same.tolist() == same
    assert protocol.first.tolist() == list(range(0, 24, 2))
    assert protocol.second.tolist() == list(range(1, 24, 2))
    assert protocol.folds == 3
    info = faces.get_data_info(3)
    assert info['img'].shape == (20, 20, 3)
    assert info['sample_idx'] == 3
    assert np.abs(info['img'].astype(int) - face(6, 2)).mean() < 25  # JPEG changes the values
    assert pickle.loads(pickle.dumps(faces)).get_data_info(3)['img'].shape == (20, 20, 3)


@pytest.mark.parametrize('protocol', range(6))
def test_bins_of_all_protocols_of_python_3(tmp_path, protocol):
    image = encoded(face(0, 0))
    (tmp_path / 'a.bin').write_bytes(pickle.dumps(([image] * 4, [True, False]), protocol=max(protocol, 3)))
    assert FaceBin(ann_file=str(tmp_path / 'a.bin'), folds=2).metainfo['protocol'].same.tolist() == [True, False]


class Evil:
    def __reduce__(self):
        return os.system, ('touch evil',)


@pytest.mark.parametrize('content', [Evil(), ([Evil()], [True]), ([b'', b''], [np.bool_(True)])])
@pytest.mark.parametrize('protocol', range(6))
def test_a_bin_that_would_build_objects_is_refused_unread(tmp_path, monkeypatch, content, protocol):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'a.bin').write_bytes(pickle.dumps(content, protocol=protocol))
    with pytest.raises(UserError, match=r'a.bin would build objects'):
        FaceBin(ann_file='a.bin')
    assert not (tmp_path / 'evil').exists()


@pytest.mark.parametrize(
    ('data', 'words'),
    [
        (python2_pickle([b'x'] * 3, [True, False]), '3 images for 2 pairs, and a pair has two'),
        (python2_pickle([], []), '0 images for 0 pairs'),
        (python2_pickle([b'x'] * 4, [True, False])[:-9], 'is damaged or no pickle'),
        (b'\x80\x02]r\xff\xff\xff\x7f.', 'is damaged or no pickle .* of its memo'),
        (b'no pickle', 'is damaged or no pickle'),
        (b'', 'is damaged or no pickle'),
        (pickle.dumps([b'x']), 'is no pair of lists'),
        (pickle.dumps(([b'x', 3], [True])), 'something besides the bytes of images and booleans'),
        (pickle.dumps(([b'x', b'y'], [5])), 'something besides the bytes of images and booleans'),
    ],
)
def test_bad_bins_are_told(tmp_path, data, words):
    (tmp_path / 'a.bin').write_bytes(data)
    with pytest.raises(UserError, match=words):
        FaceBin(ann_file=str(tmp_path / 'a.bin'))


def test_bins_with_broken_images_and_absent_ones_are_told(tmp_path):
    (tmp_path / 'a.bin').write_bytes(python2_pickle([b'x'] * 4, [True, False]))
    with pytest.raises(UserError, match=r'a.bin, image 2 is no image that OpenCV can read'):
        FaceBin(ann_file=str(tmp_path / 'a.bin')).get_data_info(2)
    with pytest.raises(UserError, match=r'b.bin does not exist'):
        FaceBin(ann_file=str(tmp_path / 'b.bin'))


def test_a_part_of_a_protocol_is_refused(tmp_path):
    with pytest.raises(UserError, match='FaceBin: indices would take a part of a protocol'):
        FaceBin(ann_file='a.bin', indices=4)
