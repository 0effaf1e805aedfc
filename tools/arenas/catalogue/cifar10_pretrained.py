"""CIFAR-10 at 64 pixels: a teacher with ImageNet weights, a small student from scratch."""

from pathlib import Path

from arena import IN_ONE_PROCESS, Arena, Row, Table
from methods import rows

from mmkd.errors import UserError

TEACHER = Row(
    'teacher',
    'Teacher, 3 epochs, ImageNet weights',
    'baselines/mobilenet-v2_cifar10-64px',
    {'train_cfg.max_epochs': 3},
    (0,),
    None,
)
ALONE = Row('alone', 'Student alone', 'baselines/resnet18-w16_cifar10-64px', teacher=None)
LONGER = Row('alone30', 'Student alone, 30 epochs', ALONE.config, {'train_cfg.max_epochs': 30}, (0,), None)
METHODS = rows(
    'sskd/sskd_mobilenet-v2_resnet18-w16_cifar10-64px',
    ('kd', 'mhkd', 'featurekd', 'sskd', 'paper'),
    changes={'mhkd': {'model.heads.type': 'mmkd.AuxiliaryHead', 'model.heads.width': 32}},
)


def prepare() -> None:
    """Say how to get what is missing."""
    for path in Path('data/cifar10.npz'), Path('data/mobilenet-v2_mmpretrain.pth'):
        if not path.is_file():
            raise UserError(f'{path} does not exist; docs/data.md, "CIFAR-100 and CIFAR-10", says how to get it.')


ARENA = Arena(
    title='CIFAR-10, pretrained: a MobileNetV2 with ImageNet weights teaches a narrow ResNet-18',
    text="""The gap that users have: the teacher knows ImageNet, the student begins from scratch. CIFAR-10, JPEG copy:
its figures are not those of CIFAR-10. 1,000 training and 200 test images of each class, a subset, so that a training
takes minutes on one core; random crop with a padding of 4, flip, then enlarged to 64 pixels. 15 epochs for every
student where not said otherwise. MHKD's heads are 32 channels wide. Top-1 in per cent at the end.""",
    options={
        'train_dataloader.dataset.per_class': '(0,1000)',
        'val_dataloader.dataset.per_class': '(0,200)',
        **IN_ONE_PROCESS,
        'default_hooks.logger.interval': 150,
        'default_hooks.checkpoint.interval': 5,
    },
    prepare=prepare,
    tables=[Table('', [TEACHER, ALONE, LONGER, *METHODS])],
)
