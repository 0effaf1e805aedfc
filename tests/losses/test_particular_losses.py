"""Properties of single losses beside their public values (test_public_values.py)."""

import re

import pytest
import torch
from torchvision.ops import generalized_box_iou_loss

from mmkd.errors import UserError
from mmkd.losses import (
    ABLoss,
    CRDLoss,
    CrossKDBoxLoss,
    CrossKDClassLoss,
    CWDLoss,
    FBKDLoss,
    FGDLoss,
    FitNetLoss,
    FSPLoss,
    LDLoss,
    MGDLoss,
    OFDLoss,
    ReviewKDLoss,
)
from mmkd.losses.box_masks import masks
from mmkd.losses.ofd import margin_of


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


@pytest.mark.parametrize(('own', 'target'), [((9, 7), (5, 4)), ((5, 4), (10, 8)), ((5, 4), (5, 4))])
def test_fitnet_joins_maps_of_one_and_of_twice_the_size(own, target):
    loss = FitNetLoss()
    loss.build_for([(3, *own)], [(5, *target)])
    assert loss(torch.rand(2, 3, *own), torch.rand(2, 5, *target)).isfinite()


@pytest.mark.parametrize(('own', 'target'), [((3, 9, 9), (5, 3, 3)), ((3, 4, 4), (5, 7, 7)), ((3, 5, 1), (4, 10, 1))])
def test_fitnet_refuses_other_sizes(own, target):
    said = re.escape(f"{own} and the teacher's {target} must be of one size, or one twice")
    with pytest.raises(UserError, match=f'^FitNetLoss: .*{said}'):
        FitNetLoss().build_for([own], [target])


def test_fsp_needs_two_places():
    with pytest.raises(UserError, match=r'^FSPLoss: it compares what lies between places; name two at least\.$'):
        FSPLoss().build_for([(3, 4, 4)], [(3, 4, 4)])


def test_ab_halves_the_weight_of_earlier_places_and_counts_no_neuron_that_is_surely_right():
    zeros, on = torch.zeros(2, 1, 1, 1), torch.ones(2, 1, 1, 1)
    assert ABLoss()([zeros, zeros], [on, -on]).item() == pytest.approx((0.5 + 1) * 3 / 1000)
    assert ABLoss()([on, -on], [on, -on]) == 0
    assert ABLoss(margin=2)([on], [on]).item() == pytest.approx(3 / 1000)


def test_cwd_of_equal_distributions_is_0():
    feature = torch.randn(2, 3, 4, 4)
    assert CWDLoss()(feature, feature + 5).item() == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize(('mask', 'shape'), [('positions', (4, 1, 30, 40)), ('channels', (4, 50, 1, 1))])
def test_mgd_masks_a_share(mask, shape):
    loss = MGDLoss(masked=0.25, mask=mask)
    loss.build_for([(50, 30, 40)], [(50, 30, 40)])
    kept = loss.parts[0].kept(torch.rand(4, 50, 30, 40))
    assert kept.shape == shape
    assert set(kept.unique().tolist()) == {0, 1}
    assert kept.mean().item() == pytest.approx(0.75, abs=0.1)


def test_mgd_joins_widths():
    loss = MGDLoss()
    loss.build_for([(3, 4, 4), (5, 2, 2)], [(5, 4, 4), (5, 2, 2)])
    assert [len(list(part.align.parameters())) for part in loss.parts] == [2, 0]


def test_mgds_options():
    with pytest.raises(UserError, match=r'^MGDLoss: masked must be a number from 0 to 1, not 65\.$'):
        MGDLoss(masked=65)
    with pytest.raises(UserError, match=r"^MGDLoss: mask must be one of .*, not 'channel'\. Did you mean channels\?$"):
        MGDLoss(mask='channel')


def test_masks_of_boxes():
    boxes = torch.tensor([[0.0, 0, 16, 8], [24, 0, 32, 24], [0, 0, 32, 24]])
    objects, background = masks([boxes[:2], boxes, boxes[:0]], [(24, 32)] * 3, torch.zeros(1, 5, 3, 4))
    small, tall, all_of_it = 1 / 6, 1 / 8, 1 / 20
    assert objects[0, 0].tolist() == [
        pytest.approx(row) for row in [[small, small, small, tall], [small, small, small, tall], [0, 0, 0, tall]]
    ]
    assert background[0, 0].tolist() == [pytest.approx(row) for row in [[0] * 4, [0] * 4, [1 / 3] * 3 + [0]]]
    assert objects[1, 0, 2].tolist() == pytest.approx([all_of_it] * 3 + [tall])
    assert background[1].sum() == 0
    assert objects[2].sum() == 0
    assert background[2].unique().item() == pytest.approx(1 / 12)


def test_fgds_context_begins_as_nothing():
    loss = FGDLoss(objects=0, background=0, attention=0, context=1)
    loss.build_for([(6, 4, 4)], [(6, 4, 4)])
    own, target = torch.randn(2, 2, 6, 4, 4)
    value = loss([own], [target], boxes=[torch.zeros(0, 4)] * 2, image_sizes=[(8, 8)] * 2)
    torch.testing.assert_close(value, (own - target).square().sum() / 2)


def test_fbkd_needs_numbers_for_each_level_and_small_maps_are_pooled_to_one_position():
    with pytest.raises(UserError, match=r'^FBKDLoss: reductions and strides need a number for each of 1 levels, not 4'):
        FBKDLoss().build_for([(8, 6, 6)], [(8, 6, 6)])
    loss = FBKDLoss(reductions=[4], strides=[8])
    loss.build_for([(8, 6, 1)], [(8, 6, 1)])
    assert loss([torch.rand(2, 8, 6, 1)], [torch.rand(2, 8, 6, 1)]).isfinite()


def test_ofds_margin_is_the_mean_of_what_is_negative():
    weight, bias = torch.tensor([1.0, -2.0, 0.5]), torch.tensor([0.3, -1.0, 2.0])
    drawn = bias + weight.abs() * torch.randn(400_000, 3)
    for channel in (0, 1):
        values = drawn[:, channel]
        assert margin_of(weight, bias)[channel].item() == pytest.approx(values[values < 0].mean().item(), abs=0.01)
    assert margin_of(weight, bias)[2] == -1.5  # hardly ever negative


def test_ofd_needs_a_batch_norm_everywhere():
    norm = torch.ones(4), torch.zeros(4)
    shapes = [(4, 3, 3), (4, 2, 2)]
    with pytest.raises(UserError, match=r"^OFDLoss: the teacher's feature must come out of a batch norm; name other"):
        OFDLoss().build_for(shapes, shapes, teacher_norms=[norm, None])


def test_reviews_middle_width():
    shapes = [(4, 8, 8), (700, 2, 2)]
    for options, width in (({}, 512), ({'middle': 3}, 3)):
        loss = ReviewKDLoss(**options)
        loss.build_for(shapes, shapes)
        assert loss.parts[0].reduce[0].out_channels == width


class TestCRD:
    def build(self, samples=12, **options):
        loss = CRDLoss(dimensions=4, **{'negatives': 6, **options})
        loss.build_for([(5,)], [(7,)], samples=samples)
        return loss

    def call(self, loss):
        labels, indices = torch.tensor([0, 1, 1]), torch.tensor([2, 9, 4])
        return loss(torch.rand(3, 5), torch.rand(3, 7), labels=labels, indices=indices)

    def test_remembers_what_it_has_seen_while_training(self):
        loss = self.build().eval()
        before = loss.student.memory.clone()
        self.call(loss)
        assert torch.equal(loss.student.memory, before)
        self.call(loss.train())
        changed = (loss.student.memory != before).any(1).nonzero().flatten()
        assert changed.tolist() == [2, 4, 9]
        assert loss.classes.tolist() == [-1, -1, 0, -1, 1, -1, -1, -1, -1, 1, -1, -1]
        assert loss.state_dict().keys() >= {'student.memory', 'teacher.normaliser', 'classes'}

    def test_draws_images_of_other_classes(self):
        loss = self.build()
        loss.classes.copy_(torch.arange(12) % 3)
        drawn = loss.draw(torch.tensor([0, 2]))
        assert drawn.shape == (2, 6)
        assert (drawn[0] % 3 != 0).all()
        assert (drawn[1] % 3 != 2).all()

    def test_refuses_more_images_than_there_are_and_a_second_place(self):
        with pytest.raises(
            UserError, match=r'^CRDLoss: negatives is 16,384, but the training set has 1,437 images; ta'
        ):
            self.build(samples=1437, negatives=16384)
        with pytest.raises(UserError, match=r'^CRDLoss: it compares one feature, not 2; name one place\.$'):
            CRDLoss(negatives=3).build_for([(5,)] * 2, [(7,)] * 2, samples=10)


def test_ld_needs_the_same_bins():
    with pytest.raises(UserError, match=r'^LDLoss: .*\(8, 17\), the teacher.s \(8, 9\); both heads must have the same'):
        LDLoss()(torch.rand(8, 17), torch.rand(8, 9), torch.ones(8), 1)
    with pytest.raises(UserError, match=r'^LDLoss: bins must be one of mean, sum, not .*\. Did you mean sum\?$'):
        LDLoss(bins='summ')


def test_cross_kd_of_boxes_by_hand():
    """One pair shares a quarter of its union and has an enclosing box of the union's size; the other pair is equal."""
    student = torch.tensor([[0.0, 0, 2, 1], [1, 1, 3, 4]], requires_grad=True)
    teacher = torch.tensor([[1.5, 0, 2.0, 1], [1, 1, 3, 4]])
    loss = CrossKDBoxLoss(loss_weight=2)(student, teacher, torch.tensor([3.0, 1]), 5.0)
    assert loss.item() == pytest.approx(2 * 3 * 0.75 / 5, rel=1e-5)
    loss.backward()
    assert student.grad[0].abs().sum() > 0


def test_cross_kd_of_boxes_is_torchvision_s_loss_where_they_overlap_touch_or_do_not():
    corners = torch.randint(6, (200, 2, 2), generator=torch.Generator().manual_seed(0)).double()
    sides = torch.randint(5, (200, 2, 2), generator=torch.Generator().manual_seed(1)).double()
    student, teacher = torch.cat([corners, corners + sides], 2).unbind(1)
    boxes = [student.clone().requires_grad_() for _ in range(2)]
    values = CrossKDBoxLoss()(boxes[0], teacher, torch.ones(200), 1.0), generalized_box_iou_loss(boxes[1], teacher)
    gradients = [torch.autograd.grad(value.sum(), box)[0] for value, box in zip(values, boxes)]
    torch.testing.assert_close(values[0], values[1].sum())
    torch.testing.assert_close(*gradients)


def test_cross_kd_of_classes_is_0_where_both_agree():
    scores = torch.randn(4, 3)
    assert CrossKDClassLoss()(scores, scores, torch.ones(4), 1.0) == 0


@pytest.mark.parametrize('loss', [LDLoss(), CrossKDClassLoss(), CrossKDBoxLoss()])
def test_no_gradient_reaches_a_teachers_predictions(loss):
    student, teacher = torch.rand(2, 3, 4, requires_grad=True)
    assert not loss(student.detach(), teacher, torch.ones(3), 1.0).requires_grad
    assert loss(student, teacher.detach(), torch.ones(3), 1.0).requires_grad
