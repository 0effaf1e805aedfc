import pytest
import torch
from mmengine.model import BaseDataPreprocessor

from mmkd.acceleration.batch_copies import wait_for_no_copy
from tests.pretended import pretend_cuda

pytest.importorskip('mmpretrain')
DetDataPreprocessor = pytest.importorskip('mmdet.models').DetDataPreprocessor


def batch(scores: bool = False) -> dict:
    """Three images, one of them with two labels."""
    from mmpretrain.structures import DataSample

    samples = [DataSample().set_gt_label(label) for label in (3, [1, 2], 0)]
    if scores:
        samples = [sample.set_gt_score(torch.rand(4)) for sample in samples]
    return dict(inputs=torch.full((3, 3, 4, 4), 5, dtype=torch.uint8), data_samples=samples)


def preprocessor(**options):
    from mmpretrain.models.utils import ClsDataPreprocessor

    return ClsDataPreprocessor(mean=[1.0] * 3, std=[2.0] * 3, **options)


@pytest.mark.parametrize('options', [{}, dict(to_onehot=True, num_classes=4)])
@pytest.mark.parametrize('scores', [False, True])
def test_the_host_waits_for_no_copy_and_the_batch_is_the_same(scores, options):
    torch.manual_seed(0)
    data = batch(scores)
    torch.manual_seed(0)
    plain = preprocessor(**options)(batch(scores))
    with pretend_cuda() as gpu:
        ours = preprocessor(**options).to('cuda')
        wait_for_no_copy(ours)
        gpu.reset()
        out = ours(data)
        assert not gpu.blocking
        assert not gpu.waits
        assert out['inputs'].device.type == 'cuda'
        assert torch.equal(out['inputs'].cpu(), plain['inputs'])
        for mine, theirs in zip(out['data_samples'], plain['data_samples'], strict=True):
            assert mine.metainfo == theirs.metainfo
            assert sorted(mine.keys()) == sorted(theirs.keys())
            for key in sorted(theirs.keys()):
                assert mine.get(key).device.type == 'cuda'
                assert torch.equal(mine.get(key).cpu(), theirs.get(key))


def test_on_the_cpu_nothing_is_touched():
    ours = preprocessor()
    wait_for_no_copy(ours)
    data = batch()
    labels = [sample.gt_label for sample in data['data_samples']]
    seen = [sample.gt_label for sample in ours(data)['data_samples']]
    assert all(one is other for one, other in zip(seen, labels, strict=True))


def test_labels_are_not_written_one_by_one(monkeypatch):
    from mmpretrain.structures import DataSample

    ours = preprocessor()
    wait_for_no_copy(ours)
    data = batch()
    monkeypatch.setattr(DataSample, 'set_gt_label', lambda *_: pytest.fail('a label was written again'))
    out = ours(data)
    assert out['data_samples'] is data['data_samples']
    assert all(hook.__self__.samples is None for hook in ours._forward_hooks.values())  # copies take nothing along
    assert ours(dict(data, data_samples=None))['data_samples'] is None  # nothing is left of the batch before


def test_batches_without_labels():
    with pretend_cuda():
        ours = preprocessor().to('cuda')
        wait_for_no_copy(ours)
        data = dict(batch(), data_samples=None)
        assert ours(data)['inputs'].device.type == 'cuda'


def images(*sizes: int) -> list[torch.Tensor]:
    draw = torch.Generator().manual_seed(0)
    return [torch.randint(256, (3, size, size + 1), generator=draw, dtype=torch.uint8) for size in sizes]


def detection() -> BaseDataPreprocessor:
    return DetDataPreprocessor(mean=[1.0, 2.0, 3.0], std=[2.0] * 3, bgr_to_rgb=True, pad_size_divisor=8)


@pytest.mark.parametrize('sizes', [(5,), (5, 5, 5), (5, 6)])
@pytest.mark.parametrize('kind', [lambda: preprocessor(to_rgb=True, pad_size_divisor=4), detection])
def test_images_of_one_size_are_normalised_together(kind, sizes):
    launches = []
    for count in (1, 4):
        plain, ours = kind(), kind()
        wait_for_no_copy(ours)
        data = dict(inputs=images(*sizes * count), data_samples=None)
        with pretend_cuda() as gpu:
            ours.to('cuda')
            gpu.reset()
            out = ours(dict(data))['inputs']
            launches.append(gpu.launches.total())
            assert torch.equal(out.cpu(), plain(data)['inputs'])
    same = len(set(sizes)) == 1
    assert (launches[0] == launches[1]) is same


def test_what_is_no_list_of_images_is_left_alone():
    ours = preprocessor()
    wait_for_no_copy(ours)
    seen = []
    ours.register_forward_pre_hook(lambda _, args: seen.append(args[0]['inputs']))
    for inputs in (images(5)[0][None], images(5, 6)):
        ours(dict(inputs=inputs, data_samples=None))
        assert seen[-1] is inputs
