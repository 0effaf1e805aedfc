"""SimKD: what learns, what the student's head becomes, which networks are refused."""

import copy

import pytest
import torch
from mmpretrain import get_model
from torch import nn
from torch.nn import functional as F

from mmkd.errors import UserError
from mmkd.features.projector import Projector
from tests.distillers.test_losses_of_other_methods import begun
from tests.distillers.test_sskd_training import bytes_of

SIMKD = dict(type='mmkd.SimKD')
HOOK = dict(score_teacher=False, unfreeze_last=None)


def test_in_evaluation_the_projector_is_its_weight_and_bias():
    torch.manual_seed(0)
    projector = Projector(3, 5)
    feature = torch.randn(4, 3, 2, 6)
    for _ in range(3):
        projector(feature + torch.rand(3)[:, None, None])
    nn.init.uniform_(projector.norm.weight)
    nn.init.normal_(projector.norm.bias)
    projector.eval()
    mapped = projector(feature)
    torch.testing.assert_close(mapped, F.conv2d(feature, projector.weight[:, :, None, None], projector.bias))
    tokens = feature.flatten(2).transpose(1, 2)
    torch.testing.assert_close(projector(tokens), mapped.flatten(2).transpose(1, 2))


@pytest.mark.parametrize('width', [8, 12], ids=['narrower', 'as wide as its teacher'])
def test_the_students_scores_are_those_of_the_teachers_head_on_projected_features(distil, plain, tmp_path, width):
    student = copy.deepcopy(plain.model)
    student.backbone.update(stem_channels=width, base_channels=width)
    student.head.in_channels = 8 * width
    runner = distil(hook=HOOK, model=dict(SIMKD, student=student))
    before = torch.load(runner.cfg.model.teacher.checkpoint)['state_dict']
    runner.train()
    model = runner.model.eval()
    assert model.current == ('layer4',)
    images = model.data_preprocessor(next(iter(runner.val_dataloader)))['inputs']
    (projector,) = [module for module in model.extras.modules() if isinstance(module, Projector)]
    pooled = projector(model.student.backbone(images)[-1]).mean((2, 3))
    wanted = F.linear(pooled, before['head.fc.weight'], before['head.fc.bias'])
    torch.testing.assert_close(model.student(images), wanted, rtol=0, atol=1e-5)
    saved = torch.load(tmp_path / 'run' / 'epoch_8.pth', weights_only=False)['state_dict']
    cfg = copy.deepcopy(plain)
    cfg.model = student
    own = get_model(cfg, pretrained=False)
    own.load_state_dict(saved, strict=True)
    torch.testing.assert_close(own.eval()(images), wanted, rtol=0, atol=1e-5)


def test_it_learns_the_whole_backbone_from_the_last_feature_alone(distil):
    model, data = begun(distil(hook=HOOK, model=SIMKD))
    assert not any(parameter.requires_grad for parameter in model.student.head.parameters())
    losses = model.loss(**data)
    assert list(losses) == ['loss_mimic_layer4']
    losses['loss_mimic_layer4'].backward()
    learned = [*model.student.backbone.parameters(), *model.extras.parameters()]
    assert all(parameter.grad is not None for parameter in learned)
    target = model.teacher.network.backbone(model.teacher_inputs(data['inputs']))[-1]
    projected = model.extras['layer4']((model.student.backbone(data['inputs'])[-1],), (target,))
    torch.testing.assert_close(losses['loss_mimic_layer4'], F.mse_loss(projected[0], target))


def test_a_resumed_run_ends_as_the_uninterrupted_one(distil, tmp_path):
    whole = distil('whole', HOOK, SIMKD)
    whole.train()
    resumed = distil('resumed', HOOK, SIMKD, resume=True, load_from=str(tmp_path / 'whole' / 'epoch_5.pth'))
    resumed.train()
    for network in ('student', 'extras'):
        assert bytes_of(getattr(resumed.model, network)) == bytes_of(getattr(whole.model, network))


@pytest.mark.parametrize(
    ('head', 'said'),
    [
        (dict(type='StackedLinearClsHead', mid_channels=[16]), r'the student has no head\.fc\.bias'),
        (dict(type='LinearClsHead', init_cfg=None, num_classes=9), r'head\.fc\.\w+ is \(9'),
    ],
)
def test_a_head_that_cannot_be_the_teachers_is_refused_before_the_training(distil, plain, head, said):
    student = copy.deepcopy(plain.model)
    student.head.update(head)
    runner = distil(hook=HOOK, model=dict(SIMKD, student=student))
    with pytest.raises(UserError, match=rf'^model.type: SimKD ends with .*, which is not exact here \({said}'):
        runner.train()
    assert runner.iter == 0


def test_a_student_that_pools_otherwise_is_refused_and_keeps_its_own_head(distil, plain):
    student = copy.deepcopy(plain.model)
    student.neck = dict(type='GeneralizedMeanPooling')
    runner = distil(hook=HOOK, model=dict(SIMKD, student=student))
    with pytest.raises(UserError, match=r'not exact here \('):
        runner.train()
