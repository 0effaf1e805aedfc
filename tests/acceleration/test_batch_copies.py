import pytest
import torch

from mmkd.acceleration.batch_copies import wait_for_no_copy
from tests.pretended import pretend_cuda

pytest.importorskip('mmpretrain')


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


@pytest.mark.parametrize('scores', [False, True])
def test_the_host_waits_for_no_copy_and_the_batch_is_the_same(scores):
    torch.manual_seed(0)
    data = batch(scores)
    torch.manual_seed(0)
    plain = preprocessor()(batch(scores))
    with pretend_cuda() as gpu:
        ours = preprocessor().to('cuda')
        wait_for_no_copy(ours)
        gpu.reset()
        out = ours(data)
        assert not gpu.blocking
        assert not gpu.waits
        assert out['inputs'].device.type == 'cuda'
        assert torch.equal(out['inputs'].cpu(), plain['inputs'])
        for mine, theirs in zip(out['data_samples'], plain['data_samples']):
            for key in ('gt_label', 'gt_score') if scores else ('gt_label',):
                assert mine.get(key).device.type == 'cuda'
                assert torch.equal(mine.get(key).cpu(), theirs.get(key))


def test_on_the_cpu_nothing_is_touched():
    ours = preprocessor()
    wait_for_no_copy(ours)
    data = batch()
    labels = [sample.gt_label for sample in data['data_samples']]
    seen = []
    ours.register_forward_pre_hook(lambda _, args: seen.extend(s.gt_label for s in args[0]['data_samples']))
    ours(data)
    assert all(one is other for one, other in zip(seen, labels))


def test_batches_without_labels():
    with pretend_cuda():
        ours = preprocessor().to('cuda')
        wait_for_no_copy(ours)
        data = dict(batch(), data_samples=None)
        assert ours(data)['inputs'].device.type == 'cuda'
