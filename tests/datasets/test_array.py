import numpy as np
import pytest

from mmkd.datasets import ArrayDataset
from mmkd.errors import UserError


@pytest.fixture
def arrays():
    rng = np.random.RandomState(0)
    return dict(
        train_x=rng.randint(0, 256, (6, 4, 5, 3)).astype(np.uint8),
        train_y=np.array([0, 1, 2, 0, 1, 2]),
        test_x=rng.randint(0, 256, (2, 4, 5, 3)).astype(np.uint8),
        test_y=np.array([2, 0]),
        class_names=np.array(['ant', 'bee', 'cow']),
    )


@pytest.fixture
def write(tmp_path, arrays):
    def save(**changes):
        path = tmp_path / 'images.npz'
        np.savez(path, **{name: array for name, array in {**arrays, **changes}.items() if array is not None})
        return str(path)

    return save


def test_samples_are_the_files_images_and_labels(write, arrays):
    dataset = ArrayDataset(ann_file=write(), split='test')
    assert len(dataset) == 2
    assert dataset.metainfo['classes'] == ('ant', 'bee', 'cow')
    for i in range(2):
        sample = dataset[i]
        np.testing.assert_array_equal(sample['img'], arrays['test_x'][i])
        assert sample['gt_label'] == arrays['test_y'][i]


def test_a_transform_that_writes_into_its_image_does_not_change_the_data(write, arrays):
    dataset = ArrayDataset(ann_file=write())
    dataset[0]['img'][:] = 0
    np.testing.assert_array_equal(dataset[0]['img'], arrays['train_x'][0])


def test_data_root_indices_and_own_class_names(write, tmp_path, arrays):
    write()
    dataset = ArrayDataset(
        ann_file='images.npz', data_root=str(tmp_path), indices=[4, 1], metainfo=dict(classes=('a', 'b', 'c'))
    )
    assert [dataset[i]['gt_label'] for i in range(len(dataset))] == [1, 1]
    np.testing.assert_array_equal(dataset[0]['img'], arrays['train_x'][4])
    assert dataset.metainfo['classes'] == ('a', 'b', 'c')


def test_class_names_are_optional_and_images_may_be_grey(write, arrays):
    dataset = ArrayDataset(ann_file=write(class_names=None, train_x=arrays['train_x'][..., 0]))
    assert dataset.metainfo['classes'] == ('0', '1', '2')
    assert dataset[0]['img'].shape == (4, 5)


def test_class_balanced_sampling_of_mmengine(write):
    from mmengine.dataset import ClassBalancedDataset

    dataset = ArrayDataset(ann_file=write(train_y=np.array([0, 1, 1, 1, 1, 1])))
    assert dataset.get_cat_ids(1) == [1]
    assert len(ClassBalancedDataset(dataset, oversample_thr=0.7)) > len(dataset)


def test_mmpretrain_pipeline_and_preprocessor(write):
    pytest.importorskip('mmpretrain')
    from mmengine.registry import DATASETS, init_default_scope

    init_default_scope('mmpretrain')
    dataset = DATASETS.build(dict(type='mmkd.ArrayDataset', ann_file=write(), pipeline=[dict(type='PackInputs')]))
    assert dataset[1]['inputs'].shape == (3, 4, 5)
    assert dataset[1]['data_samples'].gt_label.item() == 1


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (dict(train_x=None), r'has no train_x, only .*test_x.* Did you mean'),
        (dict(train_x=np.zeros((6, 4, 5, 3), np.float32)), 'train_x must be uint8 images'),
        (dict(train_x=np.zeros((6, 4), np.uint8)), 'train_x must be uint8 images'),
        (dict(train_y=np.array([0, 1])), 'train_y must be 6 integer labels'),
        (dict(train_y=np.zeros(6)), 'train_y must be 6 integer labels'),
        (dict(train_y=np.array([{}] * 6)), 'damaged or no .npz file of plain arrays'),
    ],
)
def test_wrong_arrays_are_told_in_a_sentence(write, changes, message):
    with pytest.raises(UserError, match=message):
        ArrayDataset(ann_file=write(**changes))


def test_absent_file(tmp_path):
    with pytest.raises(UserError, match=r'ann_file .*no\.npz does not exist'):
        ArrayDataset(ann_file=str(tmp_path / 'no.npz'))


@pytest.mark.parametrize('keep', [0, 10, 300, -10])
def test_cut_off_file(write, keep):
    path = write()
    with open(path, 'rb') as stream:
        content = stream.read()
    with open(path, 'wb') as stream:
        stream.write(content[:keep])
    with pytest.raises(UserError, match='is damaged'):
        ArrayDataset(ann_file=path)


def test_one_array_is_no_npz(tmp_path):
    np.save(tmp_path / 'x.npy', np.zeros(3))
    with pytest.raises(UserError, match='is damaged or no'):
        ArrayDataset(ann_file=str(tmp_path / 'x.npy'))
