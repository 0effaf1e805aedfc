import copy

import pytest
from torch import nn

from mmkd.errors import UserError
from mmkd.teacher.pretrained import check_scratch, has_weights

pytest.importorskip('mmpretrain')
from mmpretrain.models import EfficientNet, MoCoV3ViT, ResNet, ResNeXt, VisionTransformer

PRETRAINED = dict(type='Pretrained', checkpoint='weights.pth')


class Student(nn.Module):
    def __init__(self, backbone: nn.Module, init_cfg: dict | None = None):
        super().__init__()
        self.backbone, self.init_cfg = backbone, init_cfg


class HalfFrozen(nn.Module):
    """A backbone without an argument for pretrained weights."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3)
        self.first.requires_grad_(False)


def resnet(**options) -> nn.Module:
    return ResNet(depth=18, stem_channels=8, base_channels=8, **options)


@pytest.mark.parametrize(
    ('backbone', 'cure'),
    [
        (lambda: resnet(norm_eval=True), r'\(backbone\.bn1 and 19 more\); set norm_eval=False, or name'),
        (lambda: ResNeXt(depth=50, frozen_stages=1), 'set frozen_stages=-1, or name'),
        (lambda: resnet(frozen_stages=0), r'\(backbone\.conv1 and 1 more\); set frozen_stages=-1, or name'),
        (lambda: resnet(norm_eval=True, frozen_stages=1), 'set norm_eval=False and frozen_stages=-1, or name'),
        (lambda: resnet(init_cfg=[dict(type='Kaiming')], norm_eval=True), 'set norm_eval=False, or name'),
        (lambda: EfficientNet('b0', frozen_stages=1), 'set frozen_stages=0, or name'),
        (lambda: VisionTransformer('deit-t', img_size=32, frozen_stages=1), 'set frozen_stages=-1, or name'),
        (HalfFrozen, r'\(backbone\.first\); let all of it learn, or name'),
    ],
)
def test_random_weights_that_stay(backbone, cure):
    with pytest.raises(UserError, match=cure):
        check_scratch(Student(backbone()))


@pytest.mark.parametrize(
    'student',
    [
        lambda: Student(resnet()),
        lambda: Student(resnet(norm_eval=False, frozen_stages=-1)),
        lambda: Student(resnet(norm_cfg=dict(type='GN', num_groups=4), norm_eval=True)),  # no statistics
        lambda: Student(EfficientNet('b0')),  # a 0 freezes nothing
        lambda: Student(EfficientNet('b0', frozen_stages=0)),
        lambda: Student(
            MoCoV3ViT(False, arch='mocov3-small', img_size=32, patch_size=16)
        ),  # fixed positions do not count
        lambda: Student(resnet(init_cfg=PRETRAINED, norm_eval=True, frozen_stages=1)),
        lambda: Student(resnet(init_cfg=[PRETRAINED], norm_eval=True)),
        lambda: Student(resnet(frozen_stages=1), PRETRAINED),
    ],
)
def test_what_can_learn(student):
    check_scratch(student())


def test_the_student_stays_as_it_was():
    student = Student(resnet()).eval()
    before = copy.deepcopy({name: module.training for name, module in student.named_modules()})
    check_scratch(student)
    assert {name: module.training for name, module in student.named_modules()} == before


def test_weights_of_timm():
    backbone = HalfFrozen()
    backbone.timm_model, backbone._is_init = nn.Identity(), True  # mmpretrain's TIMMBackbone(pretrained=True) does this
    assert has_weights('model.student', Student(backbone))
    check_scratch(Student(backbone))
    backbone._is_init = False
    assert not has_weights('model.student', Student(backbone))
