from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from mmkd.errors import UserError
from mmkd.features.adapters import build_adapter
from mmkd.features.least_squares import LeastSquares

sides = st.integers(1, 6)
layouts = st.tuples(st.integers(1, 6), sides, sides, st.one_of(st.none(), st.integers(0, 3)))


def stage(*levels, name='stage', signed=True):
    """Shapes: (C, H, W) for maps and (C, H, W, prefix tokens) for tokens."""
    shapes = tuple(level[:3] if len(level) == 3 else (level[3] + level[1] * level[2], level[0]) for level in levels)
    grid = max(level[1:3] for level in levels)
    return SimpleNamespace(name=name, shapes=shapes, grid=grid, stride=round(32 / max(grid)), signed=signed)


def features(of, batch=2, seed=0, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    return tuple(torch.randn(batch, *shape, generator=generator).to(dtype) for shape in of.shapes)


def to_tokens(maps):
    return torch.stack([maps[:, :, i, j] for i in range(maps.shape[2]) for j in range(maps.shape[3])], dim=1)


def adapt(student, teacher):
    """The result for one level, with its adapter and features."""
    s, t = features(student), features(teacher, seed=1)
    adapter = build_adapter(student, teacher)
    (result,) = adapter(s, t)
    assert result.shape == t[0].shape
    return result, adapter, s[0], t[0]


@pytest.mark.parametrize('level', [(5, 4, 3), (5, 4, 3, 0), (5, 4, 3, 1)], ids=['map', 'tokens', 'class token'])
def test_nothing_differs(level):
    result, adapter, student, _ = adapt(stage(level), stage(level))
    assert result is student
    assert not adapter.state_dict()


@pytest.mark.parametrize('level', [(3, 4, 4), (3, 4, 2, 1)], ids=['map', 'tokens'])
@pytest.mark.parametrize(('own', 'theirs', 'fits'), [(False, True, True), (False, False, False), (True, False, False)])
def test_what_is_never_below_0_is_mapped_to_what_is(level, own, theirs, fits):
    adapter = build_adapter(stage(level, signed=own), stage(level, signed=theirs))
    assert adapter[0].fits == fits
    assert isinstance(adapter[0].project, LeastSquares) == fits


def test_after_a_relu_a_teacher_of_equal_width_is_explained_below_0_too():
    student, teacher = stage((3, 8, 8), signed=False), stage((3, 8, 8))
    own = features(student)[0].relu()
    target = own.flip(1) * torch.tensor([2.0, -3, 1])[:, None, None] - 0.5  # linear in the student's
    (result,) = build_adapter(student, teacher)((own,), (target,))
    torch.testing.assert_close(result, target, rtol=0, atol=5e-3)


def test_widths_of_maps():
    result, adapter, student, teacher = adapt(stage((3, 4, 4)), stage((5, 4, 4)))
    own = to_tokens(student)
    torch.testing.assert_close(result, fitted(adapter[0].project, own, to_tokens(teacher), own, 4))
    assert not list(adapter.parameters())


def test_widths_of_tokens_are_projected_as_those_of_maps_are():
    result, adapter, student, teacher = adapt(stage((3, 4, 2, 1)), stage((5, 4, 2, 1)))
    assert torch.equal(result, fitted(adapter[0].project, student, teacher, student))


def test_other_widths_and_sizes_are_fitted_at_the_size_of_the_teacher():
    result, adapter, student, teacher = adapt(stage((3, 8, 6)), stage((5, 4, 3)))
    resized = to_tokens(F.interpolate(student, (4, 3), mode='bilinear', align_corners=False))
    torch.testing.assert_close(result, fitted(adapter[0].project, resized, to_tokens(teacher), resized, 4))


def test_the_fit_stays_in_evaluation_mode():
    student, teacher = stage((3, 4, 4)), stage((5, 4, 4))
    adapter = build_adapter(student, teacher)
    (before,) = adapter(features(student), features(teacher, seed=1))
    adapter.eval()
    assert torch.equal(adapter(features(student), features(teacher, seed=2))[0], before)


def fitted(project, rows, targets, feature, rows_of_maps=None):
    """The result of a fit over the same positions; maps are returned as maps with this many rows."""
    again = LeastSquares(project.width, len(project.bias))
    again.observe(rows.flatten(0, 1), targets.flatten(0, 1))
    torch.testing.assert_close(again.weight, project.weight)
    if rows_of_maps is None:
        return again(feature)
    return again(feature.transpose(1, 2).unflatten(2, (rows_of_maps, -1)))


@pytest.mark.parametrize('size', [(8, 6), (2, 3), (4, 1)])
def test_sizes_of_maps(size):
    result, adapter, student, _ = adapt(stage((3, 4, 3)), stage((3, *size)))
    assert torch.equal(result, F.interpolate(student, size, mode='bilinear', align_corners=False))
    assert not adapter.state_dict()


def test_the_size_is_that_of_the_images_at_hand():
    adapter = build_adapter(stage((3, 4, 4)), stage((3, 8, 8)))
    student, teacher = torch.randn(1, 3, 5, 7), torch.randn(1, 3, 10, 14)
    (result,) = adapter((student,), (teacher,))
    assert torch.equal(result, F.interpolate(student, (10, 14), mode='bilinear', align_corners=False))
    assert adapter((student,), (torch.randn(1, 3, 5, 7),))[0] is student


def test_tokens_to_map_drops_the_prefix():
    result, _, student, _ = adapt(stage((5, 3, 4, 2)), stage((5, 3, 4)))
    assert torch.equal(to_tokens(result), student[:, 2:])


def test_map_to_tokens_takes_the_prefix_from_the_teacher():
    result, _, student, teacher = adapt(stage((5, 3, 4)), stage((5, 3, 4, 2)))
    assert torch.equal(result[:, :2], teacher[:, :2])
    assert torch.equal(result[:, 2:], to_tokens(student))


def test_map_to_tokens_and_back():
    maps, tokens = stage((5, 3, 4)), stage((5, 3, 4, 1))
    student = features(maps)
    there = build_adapter(maps, tokens)(student, features(tokens))
    assert torch.equal(build_adapter(tokens, maps)(there, student)[0], student[0])


def test_tokens_of_another_grid_keep_their_class_token():
    result, _, student, _ = adapt(stage((5, 2, 3, 1)), stage((5, 4, 6, 1)))
    assert torch.equal(result[:, 0], student[:, 0])
    maps = student[:, 1:].transpose(1, 2).reshape(2, 5, 2, 3)
    assert torch.equal(result[:, 1:], to_tokens(F.interpolate(maps, (4, 6), mode='bilinear', align_corners=False)))


def test_equally_many_tokens_on_another_grid():
    result, _, student, _ = adapt(stage((5, 2, 8, 0)), stage((5, 4, 4, 0)))
    maps = student.transpose(1, 2).reshape(2, 5, 2, 8)
    assert torch.equal(result, to_tokens(F.interpolate(maps, (4, 4), mode='bilinear', align_corners=False)))


@pytest.mark.parametrize(('ours', 'theirs'), [(1, 2), (2, 1), (0, 1)])
def test_other_numbers_of_prefix_tokens(ours, theirs):
    result, _, student, teacher = adapt(stage((5, 3, 4, ours)), stage((5, 3, 4, theirs)))
    shared = min(ours, theirs)
    assert torch.equal(result[:, :shared], student[:, :shared])
    assert torch.equal(result[:, shared:theirs], teacher[:, shared:theirs])
    assert torch.equal(result[:, theirs:], student[:, ours:])


def test_dropped_tokens_are_not_in_the_fit():
    student, teacher = stage((3, 4, 4, 1)), stage((5, 4, 4))
    (feature,), adapter = features(student), build_adapter(student, teacher)
    results = []
    for class_token in (0, 1000):
        feature[:, 0] = class_token
        results.append(adapter((feature,), features(teacher))[0])
    assert torch.equal(*results)


def test_tokens_of_larger_images():
    adapter = build_adapter(stage((5, 4, 6, 1)), stage((5, 2, 3)))
    student, teacher = torch.randn(1, 1 + 8 * 12, 5), torch.randn(1, 5, 8, 12)
    assert torch.equal(to_tokens(adapter((student,), (teacher,))[0]), student[:, 1:])
    with pytest.raises(UserError, match=r'stage: 100 tokens, 1 of them .* aspect ratio 4:6'):
        adapter((torch.randn(1, 100, 5),), (teacher,))
    with pytest.raises(UserError, match='stage: 1 tokens'):
        adapter((torch.randn(1, 1, 5),), (teacher,))


def test_tokens_of_any_images_where_the_grid_does_not_matter():
    adapter = build_adapter(stage((5, 4, 4, 1)), stage((5, 4, 4, 1)))
    student = torch.randn(1, 1 + 7 * 3, 5)
    assert adapter((student,), (torch.randn(1, 1 + 7 * 3, 5),))[0] is student


def test_pyramid():
    student = stage((3, 8, 8), (4, 4, 4), (5, 2, 2))
    teacher = stage((3, 8, 8), (6, 4, 4), (5, 1, 1))
    s, t = features(student), features(teacher, seed=1)
    adapter = build_adapter(student, teacher)
    results = adapter(s, t)
    assert results[0] is s[0]
    assert [result.shape for result in results] == [tensor.shape for tensor in t]
    assert {name.split('.')[0] for name in adapter.state_dict()} == {'1'}


def test_pyramid_of_tokens():
    student, teacher = stage((3, 7, 5, 1), (4, 4, 3, 1)), stage((3, 7, 5), (4, 4, 3))
    s = features(student)
    for result, tensor in zip(build_adapter(student, teacher)(s, features(teacher)), s):
        assert torch.equal(to_tokens(result), tensor[:, 1:])


def test_maps_with_their_channels_last():
    first, last = stage((5, 3, 4)), SimpleNamespace(name='last', shapes=((3, 4, 5),), grid=(3, 4), signed=True)
    result, adapter, student, _ = adapt(last, first)
    assert torch.equal(result, student.permute(0, 3, 1, 2))
    assert not adapter.state_dict()
    result, _, student, _ = adapt(first, last)
    assert torch.equal(result, student.permute(0, 2, 3, 1))
    assert torch.equal(*(adapt(last, last)[i] for i in (0, 2)))
    result, _, student, teacher = adapt(last, stage((5, 3, 4, 1)))
    assert torch.equal(result, torch.cat([teacher[:, :1], student.flatten(1, 2)], dim=1))


@pytest.mark.parametrize(
    ('student', 'teacher', 'partners'),
    [
        ((16, 8, 4), (16, 8, 4), (0, 1, 2)),
        ((16, 8, 4, 2), (8, 4, 2), (0, 0, 1, 2)),
        ((8, 4), (16, 8, 4, 2), (1, 2)),
        ((8, 4, 2), (8,), (0, 0, 0)),
        ((8,), (16, 8), (1,)),
        ((16, 15, 8), (16, 8), (0, 0, 1)),
    ],
)
def test_each_level_of_a_pyramid_mimics_the_nearest(student, teacher, partners):
    own, theirs = (stage(*((width, side, side) for side in sides)) for width, sides in ((3, student), (5, teacher)))
    adapter = build_adapter(own, theirs)
    assert adapter.partners == partners
    target = features(theirs, seed=1)
    adapted = adapter(features(own), target)
    assert [tensor.shape for tensor in adapted] == [target[i].shape for i in partners]
    assert all(tensor is target[i] for tensor, i in zip(adapter.targets(target), partners))


def test_a_vector_is_no_feature():
    with pytest.raises(UserError, match=r'head: .* has the shape \(10,\)'):
        build_adapter(SimpleNamespace(name='head', shapes=((10,),), grid=(1, 1), signed=True), stage((3, 8, 8)))


@settings(max_examples=60, deadline=None)
@given(student=layouts, teacher=layouts, scale=st.integers(1, 3))
def test_any_layout_becomes_any_other(student, teacher, scale):
    def trim(level):
        return level[:3] if level[3] is None else level

    def scaled(level):
        return trim((level[0], level[1] * scale, level[2] * scale, level[3]))

    adapter = build_adapter(stage(trim(student)), stage(trim(teacher)))
    (s,), (t,) = features(stage(scaled(student))), features(stage(scaled(teacher)), seed=1)
    s.requires_grad_()
    t.requires_grad_()
    (result,) = adapter((s,), (t,))
    assert result.shape == t.shape
    result.square().sum().backward()
    assert t.grad is None
    assert s.grad.shape == s.shape
    assert all(parameter.grad is not None for parameter in adapter.parameters())
    assert bool(adapter.state_dict()) == (student[0] != teacher[0])


PAIRS = {
    'map': ((3, 4, 4), (5, 2, 2)),
    'tokens': ((3, 4, 4, 1), (5, 2, 2, 1)),
    'tokens to map': ((3, 4, 4, 1), (5, 2, 2)),
    'map to tokens': ((3, 4, 4), (5, 2, 2, 1)),
}


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16, torch.float64])
@pytest.mark.parametrize('pair', PAIRS.values(), ids=PAIRS)
def test_the_student_keeps_its_number_format(pair, dtype):
    student, teacher = map(stage, pair)
    adapter = build_adapter(student, teacher)
    (plain,) = adapter(features(student), features(teacher))
    (result,) = adapter(features(student, dtype=dtype), features(teacher))
    assert result.dtype == dtype
    torch.testing.assert_close(result.float(), plain, rtol=0.1, atol=0.1)


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float32])
@pytest.mark.parametrize('pair', PAIRS.values(), ids=PAIRS)
def test_under_autocast(pair, dtype):
    student, teacher = map(stage, pair)
    adapter = build_adapter(student, teacher)
    (feature,) = features(student, dtype=dtype)
    feature.requires_grad_()
    with torch.autocast('cpu', torch.bfloat16):
        (result,) = adapter((feature,), features(teacher))
    assert result.dtype == dtype
    result.float().square().sum().backward()
    assert feature.grad.abs().sum() > 0
    assert all(parameter.grad.dtype == torch.float32 for parameter in adapter.parameters())
