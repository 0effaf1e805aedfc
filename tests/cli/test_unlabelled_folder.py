"""``mmkd distill --unlabelled FOLDER``, on images in folders."""

import numpy as np
import pytest

from mmkd.checkpoints.safe_load import load_checkpoint

pytest.importorskip('mmpretrain')
from PIL import Image

STUDENT = """
_base_ = 'mmpretrain::_base_/default_runtime.py'
model = dict(
    type='ImageClassifier',
    backbone=dict(type='ResNet_CIFAR', depth=18, stem_channels={width}, base_channels={width}),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(type='LinearClsHead', num_classes=2, in_channels=8 * {width}, loss=dict(type='CrossEntropyLoss')))
data_preprocessor = dict(num_classes=2, mean=[120, 130, 110], std=[60, 50, 70], to_rgb=True)
pipeline = [dict(type='LoadImageFromFile'), dict(type='RandomResizedCrop', scale=32), dict(type='PackInputs')]
train_dataloader = dict(
    batch_size=6, dataset=dict(type='CustomDataset', data_root='labelled', pipeline=pipeline),
    sampler=dict(type='DefaultSampler', shuffle=True))
train_cfg = dict(by_epoch=True, max_epochs=8)
optim_wrapper = dict(optimizer=dict(type='SGD', lr=0.01))
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Two classes of labelled images and a folder of others, a student and its teacher."""
    import torch
    from mmpretrain import get_model

    from mmkd.utils.configs import load_config

    monkeypatch.chdir(tmp_path)
    draw = np.random.default_rng(0)
    for name, count in {'labelled/a': 5, 'labelled/b': 7, 'rest/of them': 9}.items():
        (tmp_path / name).mkdir(parents=True)
        for index in range(count):
            Image.fromarray(draw.integers(256, size=(40, 36, 3), dtype='uint8')).save(f'{name}/{index}.png')
    for name, width in dict(student=4, teacher=8).items():
        (tmp_path / f'{name}.py').write_text(STUDENT.format(width=width))
    torch.save(dict(state_dict=get_model(load_config('teacher.py'), pretrained=False).state_dict()), 'teacher.pth')
    return tmp_path


@pytest.mark.parametrize('method', ['kd', 'sskd', 'feature-kd'])
def test_images_of_a_folder_teach_beside_the_labelled_ones(folder, distill, method):
    args = 'student.py', '--method', method, '--unlabelled', 'rest', '--out', 'kd.py'
    assert distill(*args, '--', '--work-dir', 'run', '--no-validate') is None
    (paths,) = folder.glob('run/*/vis_data/config.py')
    written = {}
    exec(paths.read_text(), written)
    loader = written['unlabelled_dataloader']
    assert (loader['batch_size'], loader['dataset']['data_root']) == (6, 'rest')
    assert loader['dataset']['pipeline'] == written['train_dataloader']['dataset']['pipeline']
    stages = load_checkpoint('run/epoch_8.pth')['mmkd']
    assert stages['unlabelled']['drawn'] == 16  # a batch in each iteration
    (log,) = folder.glob('run/*/*.log')
    assert 'soft: ' in log.read_text()  # they teach classes


@pytest.mark.parametrize(
    ('student', 'unlabelled', 'message'),
    [
        ('student.py', 'nowhere', "--unlabelled: there is no folder 'nowhere'."),
        ('student.py', '', "--unlabelled: there is no folder ''."),
        ('student.py', 'teacher.pth', "--unlabelled: there is no folder 'teacher.pth'."),
        ('student.py', 'empty', "--unlabelled: 'empty' holds no file."),
        (
            'mmkd::baselines/resnet20_cifar100.py',
            'rest',
            '--unlabelled: the training images of mmkd::baselines/resnet20_cifar100.py are not read from files',
        ),
        (
            'mmdet::retinanet/retinanet_r50_fpn_1x_coco.py',
            'rest',
            '--unlabelled: mmdet::retinanet/retinanet_r50_fpn_1x_coco.py is no classifier of mmpretrain; leave it out',
        ),
    ],
)
def test_mistakes(folder, distill, student, unlabelled, message):
    if 'mmdet' in student:
        pytest.importorskip('mmdet')
    (folder / 'empty' / 'inner').mkdir(parents=True)
    before = set(folder.rglob('*'))
    said = distill(student, '--unlabelled', unlabelled)
    assert message in said
    assert '\n' not in said
    assert set(folder.rglob('*')) == before
