import pickle
import shutil

import pytest

from mmkd.datasets import TinyImageNet
from mmkd.errors import UserError
from tests.datasets.tiny_imagenet import write_folder


@pytest.fixture
def root(tmp_path):
    return write_folder(tmp_path / 'tiny')


def test_the_archive_is_read_as_it_is(root):
    train, val = TinyImageNet(data_root=str(root)), TinyImageNet(data_root=str(root), split='val')
    assert train.metainfo['classes'] == val.metainfo['classes'] == ('n01', 'n02', 'n03')
    assert [train.get_cat_ids(i)[0] for i in range(len(train))] == [0] * 5 + [1] * 5 + [2] * 5
    path = root / 'train' / 'n01' / 'images' / 'n01_3.JPEG'
    assert train.get_data_info(3) == dict(img_path=str(path), gt_label=0, sample_idx=3)
    assert [val.get_data_info(i)['gt_label'] for i in range(4)] == [2, 0, 2, 1]
    assert val.get_data_info(1)['img_path'] == str(root / 'val' / 'images' / 'val_1.JPEG')
    assert pickle.loads(pickle.dumps(val)).get_data_info(2) == val.get_data_info(2)
    assert len(TinyImageNet(data_root=str(root), indices=7)) == 7


def test_a_missing_folder_says_how_to_get_it(root):
    with pytest.raises(UserError, match=r'nowhere/wnids\.txt does not exist; unpack .*tiny-imagenet-200\.zip') as told:
        TinyImageNet(data_root='nowhere')
    assert str(told.value).count('\n') == 0
    shutil.rmtree(root / 'train' / 'n03')
    with pytest.raises(UserError, match=r'train/n03/images has no \.JPEG; unpack'):
        TinyImageNet(data_root=str(root))
    (root / 'val' / 'val_annotations.txt').unlink()
    with pytest.raises(UserError, match=r'val_annotations\.txt does not exist; unpack'):
        TinyImageNet(data_root=str(root), split='val')


def test_bad_files_are_told(root):
    with pytest.raises(UserError, match="split must be 'train' or 'val', not 'test': the test images have no labels"):
        TinyImageNet(data_root=str(root), split='test')
    for line in 'val_0.JPEG', 'val_0.JPEG\tn09\t0\t1\t2\t3':
        (root / 'val' / 'val_annotations.txt').write_text(f'val_1.JPEG\tn01\t0\t1\t2\t3\n{line}\n')
        with pytest.raises(UserError, match=r'val_annotations\.txt, line 2 .*wnids\.txt'):
            TinyImageNet(data_root=str(root), split='val')
    (root / 'wnids.txt').write_text('\n')
    with pytest.raises(UserError, match=r'wnids\.txt names no class'):
        TinyImageNet(data_root=str(root))
