import numpy as np
import pytest
import torch
from mmengine.registry import DATASETS, MODELS, init_default_scope
from mmengine.runner import Runner

from mmkd.datasets import ResidentArrayDataset
from mmkd.datasets.digits import load_digits
from mmkd.errors import UserError
from tests.pretended import pretend_cuda

pytest.importorskip('mmpretrain')
N, HEIGHT, WIDTH, PADDING = 8, 4, 5, 2
CROP = dict(type='RandomCrop', crop_size=(HEIGHT, WIDTH), padding=PADDING)
FLIP = dict(type='RandomFlip', prob=0.5, direction='horizontal')
PACK = dict(type='PackInputs')


@pytest.fixture
def arrays():
    """All images differ in all pixels, and no pixel is black like the padding."""
    images = np.random.RandomState(0).randint(1, 256, (N, HEIGHT, WIDTH, 3)).astype(np.uint8)
    return dict(train_x=images, train_y=np.arange(N) % 3)


@pytest.fixture
def build(tmp_path, arrays):
    init_default_scope('mmpretrain')

    def make(*pipeline, kind='mmkd.ResidentArrayDataset', **kwargs):
        path = tmp_path / 'images.npz'
        np.savez(path, **arrays)
        return DATASETS.build(dict(type=kind, ann_file=str(path), pipeline=list(pipeline), **kwargs))

    return make


def pixels(samples) -> np.ndarray:
    return torch.stack([sample['inputs'] for sample in samples]).cpu().numpy()


def labels(samples) -> list[int]:
    return [sample['data_samples'].gt_label.item() for sample in samples]


def windows(image: np.ndarray) -> dict[bytes, tuple[int, int, bool]]:
    """Every image that cropping and flipping can make of one, with the way to make it."""
    padded = np.pad(image, ((PADDING, PADDING), (PADDING, PADDING), (0, 0)))
    cut = {
        (top, left): padded[top : top + HEIGHT, left : left + WIDTH]
        for top in range(2 * PADDING + 1)
        for left in range(2 * PADDING + 1)
    }
    return {
        (crop[:, ::-1] if flipped else crop).transpose(2, 0, 1).tobytes(): (*place, flipped)
        for place, crop in cut.items()
        for flipped in (False, True)
    }


def test_images_and_labels_lie_on_the_gpu(build):
    with pretend_cuda() as gpu:
        dataset = build(CROP, FLIP, PACK)
        dataset.full_init()
        gpu.reset()
        samples = dataset.__getitems__([5, 1, 2])
        assert {sample['inputs'].device.type for sample in samples} == {'cuda'}
        assert {sample['data_samples'].gt_label.device.type for sample in samples} == {'cuda'}
        assert not gpu.waits
        assert labels(samples) == [2, 1, 2]


def test_without_augmentation_they_are_the_files_images(build, arrays):
    samples = build(PACK).__getitems__([3, 0, 3])
    np.testing.assert_array_equal(pixels(samples), arrays['train_x'][[3, 0, 3]].transpose(0, 3, 1, 2))
    assert labels(samples) == [0, 0, 0]
    assert samples[0]['inputs'].dtype == torch.uint8


def test_every_window_of_the_padded_image_and_its_mirror_is_as_likely(build, arrays):
    dataset = build(CROP, FLIP, PACK)
    torch.manual_seed(0)
    ways = windows(arrays['train_x'][5])
    assert len(ways) == 2 * (2 * PADDING + 1) ** 2
    drawn = [ways[image.tobytes()] for image in pixels(dataset.__getitems__([5] * 5000))]  # KeyError: no such window
    counts = np.array([drawn.count(way) for way in ways.values()])
    expected = 5000 / len(ways)
    assert ((counts - expected) ** 2 / expected).sum() < 85  # chi squared of 49 degrees of freedom, p = 0.001


def test_the_pipeline_draws_from_the_same_windows(build, arrays):
    dataset = build(CROP, FLIP, PACK, kind='mmkd.ArrayDataset')
    ways = windows(arrays['train_x'][5])
    assert {ways[dataset[5]['inputs'].numpy().tobytes()] for _ in range(1000)} == set(ways.values())


def test_labels_stay_with_their_images(build, arrays):
    order = [7, 2, 5, 0, 1]
    samples = build(CROP, FLIP, PACK).__getitems__(order)
    assert labels(samples) == arrays['train_y'][order].tolist()
    for i, image in zip(order, pixels(samples)):
        assert image.tobytes() in windows(arrays['train_x'][i])


def test_indices_and_grey_images(build, arrays):
    arrays['train_x'] = arrays['train_x'][..., 0]
    dataset = build(PACK, indices=[6, 1])
    assert len(dataset) == 2
    np.testing.assert_array_equal(pixels(dataset.__getitems__([0, 1]))[:, 0], arrays['train_x'][[6, 1]])
    assert labels(dataset.__getitems__([0, 1])) == [0, 1]


def test_samples_know_their_place_if_they_are_packed_so(build):
    samples = build(CROP, FLIP, PACK).__getitems__([6, 0, 3])
    assert [sample['data_samples'].sample_idx for sample in samples] == [6, 0, 3]
    assert 'sample_idx' in samples[0]['data_samples'].metainfo_keys()
    assert 'sample_idx' not in build(dict(type='PackInputs', meta_keys=()))[6]['data_samples']


@pytest.mark.parametrize(('prob', 'mirrored'), [(0.0, False), (1.0, True)])
def test_flip_without_crop(build, arrays, prob, mirrored):
    images = pixels(build(dict(FLIP, prob=prob), PACK).__getitems__(range(N)))
    expected = arrays['train_x'][:, :, ::-1] if mirrored else arrays['train_x']
    np.testing.assert_array_equal(images, expected.transpose(0, 3, 1, 2))


def test_a_seed_reproduces_and_another_does_not(build):
    dataset = build(CROP, FLIP, PACK)
    draws = [(torch.manual_seed(seed), pixels(dataset.__getitems__(range(N))))[1] for seed in (0, 0, 1)]
    np.testing.assert_array_equal(draws[0], draws[1])
    assert (draws[0] != draws[2]).any()


def test_a_prediction_does_not_stay_in_the_data(build):
    dataset = build(PACK)
    dataset[0]['data_samples'].set_pred_label(1).set_gt_label(2)
    assert 'pred_label' not in dataset[0]['data_samples']
    assert labels([dataset[0], dataset[3]]) == [0, 0]


def test_data_loader_and_preprocessor_of_mmpretrain(build, arrays):
    dataset = build(CROP, FLIP, PACK)
    loader = Runner.build_dataloader(
        dict(
            dataset=dataset,
            batch_size=3,
            num_workers=0,
            sampler=dict(type='DefaultSampler', shuffle=True),
            collate_fn=dict(type='default_collate'),
        ),
        seed=0,
    )
    preprocessor = MODELS.build(dict(type='ClsDataPreprocessor', mean=[127.5] * 3, std=[127.5] * 3))
    batches = [preprocessor(batch, True) for batch in loader]
    assert [tuple(batch['inputs'].shape) for batch in batches] == [(3, 3, HEIGHT, WIDTH)] * 2 + [(2, 3, HEIGHT, WIDTH)]
    seen = [sample.gt_label.item() for batch in batches for sample in batch['data_samples']]
    assert sorted(seen) == sorted(arrays['train_y'].tolist())
    batch = preprocessor(loader.collate_fn([dataset[0]] * 2), False)  # StageScheduleHook makes one like this
    assert batch['inputs'].shape == (2, 3, HEIGHT, WIDTH)


@pytest.mark.parametrize(
    'pipeline',
    [
        [],
        [CROP],
        [FLIP, CROP, PACK],
        [CROP, CROP, PACK],
        [CROP, dict(type='Resize', scale=64), PACK],
        [dict(CROP, padding_mode='reflect'), PACK],
        [dict(CROP, padding=(1, 2)), PACK],
        [dict(FLIP, direction='vertical'), PACK],
        [dict(FLIP, prob=[0.5, 0.5]), PACK],
    ],
)
def test_other_pipelines_are_refused(build, pipeline):
    with pytest.raises(UserError, match=r'pipeline must be RandomCrop .* use mmkd\.ArrayDataset for other steps'):
        build(*pipeline)


def test_a_crop_larger_than_the_image_is_refused(build):
    with pytest.raises(UserError, match=r'crop_size \(9, 5\) is larger than the images of \(8, 9\) pixels'):
        build(dict(CROP, crop_size=(9, 5)), PACK)


def test_workers_are_refused(build):
    loader = torch.utils.data.DataLoader(build(PACK), batch_size=2, num_workers=1, collate_fn=list)
    with pytest.raises(UserError, match='num_workers=0'):
        next(iter(loader))


def test_lazy_init(build):
    dataset = build(PACK, lazy_init=True)
    assert not hasattr(dataset, 'resident')
    assert labels([dataset[4]]) == [1]


def test_without_mmengines_builder(build, tmp_path):
    build(PACK)
    assert len(ResidentArrayDataset(ann_file=str(tmp_path / 'images.npz'), pipeline=[PACK])) == N


def test_a_resumed_distillation_ends_as_the_uninterrupted_one(distil, tmp_path):
    images, digits = load_digits('train')
    np.savez(tmp_path / 'digits.npz', train_x=np.repeat(images[..., None], 3, axis=-1), train_y=digits)
    dataset = dict(
        type='mmkd.ResidentArrayDataset',
        ann_file=str(tmp_path / 'digits.npz'),
        indices=64,
        pipeline=[dict(type='RandomCrop', crop_size=8, padding=1), FLIP, PACK],
    )
    changes = {
        'train_dataloader.dataset': dataset,
        'train_dataloader.num_workers': 0,
        'val_dataloader.dataset': dict(dataset, pipeline=[PACK]),
        'val_dataloader.num_workers': 0,
    }
    whole = distil('whole', **changes)
    whole.train()
    path = str(tmp_path / 'whole' / 'epoch_5.pth')
    resumed = distil('resumed', **changes, resume=True, load_from=path)
    resumed.train()
    for name, tensor in whole.model.state_dict().items():
        assert torch.equal(resumed.model.state_dict()[name], tensor), name
