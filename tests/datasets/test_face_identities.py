import copy
import pickle

import cv2
import numpy as np
import pytest

from mmkd.datasets import AlignFace, FaceList, FaceRecords
from mmkd.datasets.faces.align import TEMPLATE, similarity
from mmkd.errors import UserError
from tests.datasets.faces import face, write, write_records

LABELS = [0, 0, 0, 1, 1, 2, 2, 2, 2]


def test_a_list_gives_paths_and_labels(tmp_path):
    (tmp_path / 'list.txt').write_text('b/1.jpg 4\n\na b/2 c.jpg\t0\n/c.jpg 12\n')
    faces = FaceList(data_root=str(tmp_path), ann_file='list.txt', data_prefix='images')
    assert len(faces) == 3
    assert [faces.get_cat_ids(i) for i in range(3)] == [[4], [0], [12]]
    info = faces.get_data_info(1)
    assert info == dict(img_path=str(tmp_path / 'images' / 'a b' / '2 c.jpg'), gt_label=0, sample_idx=1)
    assert faces.get_data_info(-1)['sample_idx'] == 2
    some = FaceList(data_root=str(tmp_path), ann_file='list.txt', data_prefix='images', indices=[2, 0])
    assert [some.get_data_info(i)['gt_label'] for i in range(len(some))] == [12, 4]
    assert len(FaceList(data_root=str(tmp_path), ann_file='list.txt', indices=2)) == 2
    assert pickle.loads(pickle.dumps(some)).get_data_info(1) == some.get_data_info(1)


@pytest.mark.parametrize(
    ('text', 'words'),
    [
        ('a.jpg 0\nb.jpg\n', r'list.txt, line 2 is no path with a label behind it: b.jpg'),
        ('a.jpg -1\n', 'line 1 is no path with a label'),
        ('a.jpg x\n', 'line 1 is no path with a label'),
        ('\n', 'list.txt names no image'),
    ],
)
def test_bad_lists_are_told(tmp_path, text, words):
    (tmp_path / 'list.txt').write_text(text)
    with pytest.raises(UserError, match=words):
        FaceList(ann_file=str(tmp_path / 'list.txt'))
    with pytest.raises(UserError, match=r'none\.txt does not exist; list the images in it'):
        FaceList(ann_file=str(tmp_path / 'none.txt'))


def test_a_folder_for_each_person_trains_a_recognizer(tmp_path):
    """By mmpretrain's own data set."""
    pytest.importorskip('mmpretrain')
    from mmengine.registry import DATASETS, MODELS, init_default_scope

    init_default_scope('mmpretrain')
    for person, name in enumerate(['bea', 'Ann', 'cy']):  # labels go by the names' order
        for photo in range(2 + person):
            write(tmp_path / name / f'{photo}.png', face(person, photo))
    pipeline = [dict(type='LoadImageFromFile'), dict(type='PackInputs')]
    folders = DATASETS.build(dict(type='CustomDataset', data_prefix=str(tmp_path), pipeline=pipeline))
    assert [folders.get_cat_ids(i) for i in range(len(folders))] == [[0]] * 3 + [[1]] * 2 + [[2]] * 4
    backbone = dict(type='mmkd.IResNet', depth=18, num_features=8, widths=(4, 4, 6, 8, 10), image_size=20)
    head = dict(type='ArcFaceClsHead', num_classes=3, in_channels=8)
    network = MODELS.build(dict(type='mmkd.FaceRecognizer', backbone=backbone, head=head))
    batch = [folders[i] for i in (0, 3, 8)]
    np.testing.assert_array_equal(batch[0]['inputs'].permute(1, 2, 0), face(1, 0))
    data = network.data_preprocessor({key: [each[key] for each in batch] for key in ('inputs', 'data_samples')}, True)
    network(**data, mode='loss')['loss'].backward()
    assert network.head.norm_product.weight.grad.abs().sum() > 0


NUMBERS = '30 51.5 65 50 48 72 33 92 63.25 90'


def test_a_list_with_landmarks_aligns_its_images(tmp_path):
    (tmp_path / 'list.txt').write_text(f'a b.png 1 {NUMBERS}\n\nc.png 0 {NUMBERS.replace("30", "31")}\n')
    faces = FaceList(data_root=str(tmp_path), ann_file='list.txt', landmarks=True, indices=[1, 0])
    info = faces.get_data_info(1)
    assert (info['img_path'], info['gt_label']) == (str(tmp_path / 'a b.png'), 1)
    assert info['landmarks'].tolist() == [[30, 51.5], [65, 50], [48, 72], [33, 92], [63.25, 90]]
    assert faces.get_data_info(0)['landmarks'][0, 0] == 31
    image = face(0, 0, 112)
    aligned = AlignFace()(dict(info, img=image))['img']
    matrix = similarity(info['landmarks'].astype(float), np.array(TEMPLATE))
    assert np.abs(matrix[:, 2]).max() > 3  # it moves
    np.testing.assert_array_equal(aligned, cv2.warpAffine(image, matrix, (112, 112)))
    assert pickle.loads(pickle.dumps(faces)).get_data_info(1)['landmarks'].tolist() == info['landmarks'].tolist()


@pytest.mark.parametrize(
    ('text', 'words'),
    [
        (
            'a.jpg 0 1 2 3 4 5 6 7 8 9\n',
            'list.txt, line 1 is no path with a label and ten numbers behind it: a.jpg 0 1 2',
        ),
        (
            f'a.jpg 0 {NUMBERS}\nb.jpg 1 {NUMBERS.replace("72", "x")}\n',
            'line 2 must end in ten numbers, x and y of both eyes',
        ),
        (f'a.jpg 0 {NUMBERS.replace("72", "nan")}\n', 'line 1 must end in ten numbers'),
        (f'a.jpg {NUMBERS}\n', 'line 1 is no path with a label and ten numbers behind it: a.jpg 30'),
    ],
)
def test_bad_landmarks_are_told(tmp_path, text, words):
    (tmp_path / 'list.txt').write_text(text)
    with pytest.raises(UserError, match=words):
        len(FaceList(ann_file=str(tmp_path / 'list.txt'), landmarks=True))


@pytest.mark.parametrize('cut', [False, True])
@pytest.mark.parametrize('vector', [False, True])
@pytest.mark.parametrize('header', [False, True])
def test_records_give_images_and_labels(tmp_path, header, vector, cut):
    images = write_records(tmp_path / 'train.rec', LABELS, header, vector, cut)
    faces = FaceRecords(data_root=str(tmp_path), ann_file='train.rec')
    assert len(faces) == len(LABELS)
    assert [faces.get_cat_ids(i) for i in range(len(faces))] == [[label] for label in LABELS]
    assert [faces.file.image(row) for row in range(len(LABELS))] == images
    info = faces.get_data_info(4)
    assert (info['gt_label'], info['sample_idx'], info['img_shape']) == (1, 4, (20, 20))
    np.testing.assert_array_equal(info['img'], face(1, 4))
    for other in (copy.deepcopy(faces), pickle.loads(pickle.dumps(faces))):  # loading in another process does this
        np.testing.assert_array_equal(other.get_data_info(4)['img'], info['img'])
    some = FaceRecords(ann_file=str(tmp_path / 'train.rec'), indices=[5, 3])
    np.testing.assert_array_equal(some.get_data_info(1)['img'], face(1, 3))
    assert some.get_cat_ids(0) == [2]


def test_labels_come_from_identities_without_reading_the_images(tmp_path, monkeypatch):
    write_records(tmp_path / 'train.rec', [label for label in range(100) for _ in range(3)], cut=False)
    read = []
    label = FaceRecords(ann_file=str(tmp_path / 'train.rec')).file._label
    monkeypatch.setattr(
        'mmkd.datasets.faces.record_io.RecordFile._label', lambda self, key: read.append(key) or label(key)
    )
    faces = FaceRecords(ann_file=str(tmp_path / 'train.rec'))
    assert len(read) == 100
    assert faces.labels.tolist() == [label for label in range(100) for _ in range(3)]


def test_where_identities_say_otherwise_the_images_own_labels_count(tmp_path):
    write_records(tmp_path / 'train.rec', LABELS, cut=False)
    data = bytearray((tmp_path / 'train.rec').read_bytes())
    places = [int(line.split()[1]) for line in (tmp_path / 'train.idx').read_text().splitlines()]
    data[places[2] + 12 : places[2] + 16] = np.float32(7).tobytes()  # the second label of the image
    (tmp_path / 'train.rec').write_bytes(data)
    assert FaceRecords(ann_file=str(tmp_path / 'train.rec')).labels.tolist() == [0, 7, *LABELS[2:]]


def test_bad_records_are_told(tmp_path):
    path = tmp_path / 'train.rec'
    write_records(path, LABELS)
    whole, index = path.read_bytes(), path.with_suffix('.idx').read_text()

    def read():
        faces = FaceRecords(ann_file=str(path))
        return [faces.get_data_info(i) for i in range(len(faces))]

    def refused(words):
        with pytest.raises(UserError, match=words):
            read()

    path.write_bytes(whole[: len(whole) // 2])
    refused('train.rec is damaged or does not belong to its .idx file: it ends before byte')
    path.write_bytes(whole)
    path.with_suffix('.idx').write_text(index.replace('\t0\n', '\t4\n', 1))
    refused('at byte 4 no record begins')
    path.with_suffix('.idx').write_text('')
    refused('train.idx is empty')
    path.with_suffix('.idx').write_text('a b\n')
    refused('train.idx is no list of keys and places')
    path.with_suffix('.idx').write_text('\n'.join(index.splitlines()[:-1]))
    refused('the identity 12 of 10 to 12 is not in the .idx file')
    path.with_suffix('.idx').unlink()
    refused('train.idx does not exist; a .rec file and its .idx file lie side by side')
    write_records(path, LABELS, header=False, cut=False)
    data = path.read_bytes()
    path.write_bytes(data.replace(b'PNG', b'XXX'))
    refused('train.rec, image 0 is no image that OpenCV can read')


def test_written_images_are_read_in_bgr(tmp_path):
    write(tmp_path / 'a.png', face(3, 1))
    np.testing.assert_array_equal(cv2.imread(str(tmp_path / 'a.png')), face(3, 1))
