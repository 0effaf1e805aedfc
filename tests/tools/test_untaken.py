"""The forms of SSKD that were compared and not taken do what their rows say."""

import copy

import pytest
import torch

from mmkd.features.least_squares import LeastSquares
from mmkd.losses.feature_mimic import FeatureMimicLoss
from tests.distil import distil, plain, teacher  # noqa: F401  (fixtures)
from tests.distillers.test_losses_of_other_methods import begun
from tests.tool_modules import tool_modules


@pytest.fixture(autouse=True)
def untaken():
    """Where a config finds them by their path."""
    with tool_modules(''):
        from arenas import untaken

        yield untaken


def norms_of_the_first_stage(model) -> dict[str, torch.Tensor]:
    means = {name: buffer for name, buffer in model.student.named_buffers() if name.endswith('running_mean')}
    return {name: mean.clone() for name, mean in means.items() if name.startswith('backbone.layer1')}


@pytest.mark.parametrize(('method', 'drifts'), [('mmkd.SSKD', False), ('arenas.untaken.SSKDWithDriftingNorms', True)])
def test_norms_of_a_frozen_stage_drift_where_they_are_to(distil, method, drifts):  # noqa: F811
    hook = dict(stages=['layer1', 'layer2'], score_teacher=False)
    model, data = begun(distil(hook=hook, model=dict(type=method)), phase=1)
    before = norms_of_the_first_stage(model)
    assert model.current == ('layer2',)
    model(**data, mode='loss')
    after = norms_of_the_first_stage(model)
    assert before
    assert {torch.equal(before[name], after[name]) for name in before} == {not drifts}
    assert not any(module.training for module in model.eval().student.modules())


@pytest.mark.parametrize(
    ('method', 'mapped'), [('mmkd.SSKD', True), ('arenas.untaken.SSKDWithoutMapsOfEqualWidths', False)]
)
def test_stages_of_equal_widths_have_a_map_where_they_are_to(distil, plain, method, mapped):  # noqa: F811
    student = copy.deepcopy(plain.model)
    student.backbone.update(stem_channels=12, base_channels=12)  # the teacher's
    student.head.in_channels = 96
    pairs = [(f'layer{number}', f'layer{number}.1.bn2') for number in (1, 4)]
    hook = dict(stages=['layer1', 'layer4'], score_teacher=False)
    model, _ = begun(distil(hook=hook, model=dict(type=method, student=student, pairs=pairs)))
    maps = [module for module in model.extras.modules() if isinstance(module, LeastSquares)]
    assert len(maps) == 2 * mapped


def test_the_bound_of_the_loss(untaken):
    torch.manual_seed(0)
    own, target = torch.randn(2, 4, 50, 3, 3)
    target *= 3  # the tensor has a variance of about 9, all channels together of 450

    def loss(bound: float) -> float:
        return untaken.BoundedMimicLoss(bound).eval()(own, target).item()

    free = loss(float('inf'))
    assert free == loss(1e9) == pytest.approx(FeatureMimicLoss().eval()(own, target).item())
    summed = target.movedim(1, 0).flatten(1).var(1, correction=0).sum().item()
    variance = target.var(correction=0).item()
    assert loss(10.0) == pytest.approx(free * variance / (summed / 10))
