import pytest
import torch

from mmkd.errors import UserError
from mmkd.unlabelled.batches import Batch, averaged, joined


def batch(images: int, height: int, width: int, padded: bool = True, channels: int = 3) -> Batch:
    """Images with positive values; with mmdet's samples if they can be padded."""
    sample = {'img_shape': (height, width), **({'batch_input_shape': (height, width)} if padded else {})}
    return Batch(torch.rand(images, channels, height, width) + 1, [sample] * images)


def test_the_labelled_come_first():
    labelled, unlabelled = batch(2, 4, 6), batch(3, 4, 6)
    both = joined(labelled, unlabelled)
    assert torch.equal(both.inputs, torch.cat([labelled.inputs, unlabelled.inputs]))
    assert both.data_samples == [*labelled.data_samples, *unlabelled.data_samples]
    assert joined(Batch(labelled.inputs, None), unlabelled).data_samples is None


def test_a_detector_s_are_padded_to_the_larger_sides():
    labelled, unlabelled = batch(2, 4, 6), batch(3, 5, 2)
    both = joined(labelled, unlabelled, pad_value=-7).inputs
    assert both.shape == (5, 3, 5, 6)
    assert torch.equal(both[:2, :, :4], labelled.inputs)
    assert torch.equal(both[2:, :, :, :2], unlabelled.inputs)
    assert (both[:2, :, 4:] == -7).all()
    assert (both[2:, :, :, 2:] == -7).all()


@pytest.mark.parametrize('other', [batch(1, 4, 5, padded=False), batch(1, 4, 6, channels=1)])
def test_other_sizes_are_told(other):
    with pytest.raises(UserError, match=r'unlabelled_dataloader.dataset.pipeline: its images have the shape \('):
        joined(batch(2, 4, 6), other)


def test_what_both_have_is_the_mean_over_all_images():
    losses = dict(loss_own=torch.tensor(5.0), loss_soft=torch.tensor(2.0))
    assert averaged(losses, dict(loss_soft=torch.tensor(6.0)), 3, 1) == dict(loss_own=5, loss_soft=3)
