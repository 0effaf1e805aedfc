from types import SimpleNamespace

import pytest
import torch

from mmkd.features.similarity import linear_cka, mapped_cosine, pooled


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def test_cka_knows_neither_rotation_nor_scale_nor_width():
    rows = torch.randn(40, 6)
    turned = torch.linalg.qr(torch.randn(6, 6))[0]
    assert linear_cka(rows, 3 * rows @ turned + 2) == pytest.approx(1, abs=1e-6)
    assert linear_cka(rows, torch.cat([rows, torch.zeros(40, 3)], dim=1)) == pytest.approx(1, abs=1e-6)


def test_cka_of_independent_features_is_about_zero_also_where_they_are_wider_than_there_are_images():
    values = [linear_cka(torch.randn(30, 500), torch.randn(30, 700)) for _ in range(20)]
    assert abs(sum(values) / 20) < 0.05


def test_cka_lies_between_where_half_is_shared():
    shared = torch.randn(200, 5)
    own, other = (torch.cat([shared, torch.randn(200, 5)], dim=1) for _ in range(2))
    assert 0.3 < linear_cka(own, other) < 0.7
    assert linear_cka(own, other) == pytest.approx(linear_cka(other, own))


def test_a_feature_that_is_always_the_same_is_like_nothing():
    assert linear_cka(torch.ones(10, 3), torch.randn(10, 3)) == 0


def test_the_cosine_is_that_of_the_best_map():
    own = torch.randn(20, 16, 5)
    other = own @ torch.randn(5, 7) + 4
    assert mapped_cosine(own, other) > 0.999
    assert abs(mapped_cosine(own, torch.randn(20, 16, 7))) < 0.1
    assert mapped_cosine(own, other.mean(1, keepdim=True)) > 0.999  # of other levels


def test_maps_tokens_and_pyramids_are_averaged_to_positions():
    def stage(*shapes, grid):
        return SimpleNamespace(name='stage', shapes=shapes, stride=8, grid=grid, signed=True)

    image = torch.arange(2 * 3 * 8 * 8.0).reshape(2, 3, 8, 8)
    rows = pooled(stage((3, 8, 8), grid=(8, 8)), (image,))
    assert rows.shape == (2, 16, 3)
    assert rows[0, 0, 0] == image[0, 0, :2, :2].mean()
    last = pooled(stage((8, 8, 3), grid=(8, 8)), (image.permute(0, 2, 3, 1),))
    tokens = torch.cat([torch.full((2, 1, 3), 99.0), image.flatten(2).transpose(1, 2)], dim=1)
    assert torch.equal(last, rows)
    assert torch.equal(pooled(stage((65, 3), grid=(8, 8)), (tokens,)), rows)
    two = pooled(stage((3, 8, 8), (3, 2, 2), grid=(8, 8)), (image, torch.zeros(2, 3, 2, 2)))
    assert two.shape == (2, 32, 3)


def test_images_of_any_size_have_as_many_positions():
    stage = SimpleNamespace(name='stage', shapes=((3, 8, 8),), stride=8, grid=(8, 8), signed=True)
    small = torch.randn(1, 3, 2, 2)
    rows = pooled(stage, (small,))
    assert rows.shape == pooled(stage, (torch.randn(1, 3, 9, 3),)).shape == (1, 16, 3)
    assert torch.equal(rows[0, [0, 3, 12, 15]], small[0].flatten(1).T)  # each of a quarter of the positions
