"""The most common mistakes in a first config: the sentence that explains each, and whether it comes at the start."""

import copy
from argparse import Namespace
from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.runner import Runner
from PIL import Image

from mmkd.cli import checks, data_checks, flags
from mmkd.cli.default_hooks import add_safe_hooks, add_schedule
from mmkd.cli.error_keys import naming_config_keys
from mmkd.cli.machine_errors import explain_dead_workers
from mmkd.cli.train import check_weights
from mmkd.errors import UserError
from mmkd.registry import MODELS

NUMBERS = count()
BEFORE, AFTER = True, False  # before anything is built or written


@MODELS.register_module(name='InOnePiece')
class InOnePiece(BaseModel):
    """A model like mmpretrain's TimmClassifier: no backbone, neck or head."""

    def __init__(self, data_preprocessor):
        super().__init__()

    def forward(self, inputs, data_samples=None, mode='tensor'):
        raise NotImplementedError


class Enough(Exception):
    """Raised when the run works."""


class Stop(Hook):
    """Stops a run after its first epoch."""

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        if runner.iter >= 4:
            raise Enough


def start(cfg: dict, folder: Path) -> None:
    """Do what tools/train.py does."""
    cfg = Config(copy.deepcopy(cfg))
    flags.apply_common(cfg, Namespace(cfg_options=None, launcher='none', work_dir=str(folder)))
    checks.check_keys(cfg, checks.TRAINING_KEYS, 'training')
    add_schedule(cfg)
    add_safe_hooks(cfg)
    checks.check_training(cfg)
    cfg.experiment_name = f'{folder.name}_{next(NUMBERS)}'
    with naming_config_keys(cfg), explain_dead_workers('go on with --resume'):
        runner = Runner.from_cfg(cfg)
        data_checks.check_images(runner, 'train', 'val')
        check_weights(runner)
        runner.register_hook(Stop())
        runner.train()


@pytest.fixture
def config(plain, teacher, tmp_path, monkeypatch) -> dict:
    """A correct config, and the files that mistakes name; relative paths start in this folder."""
    monkeypatch.chdir(tmp_path)
    cfg = copy.deepcopy(plain)
    cfg.model = dict(type='mmkd.SSKD', student=cfg.model, teacher=copy.deepcopy(teacher))
    cfg.default_hooks.stages = dict()
    return cfg.to_dict()


def at(place: str, value: object) -> Callable[[dict], None]:
    """Set the value at a path of the config."""

    def change(cfg: dict) -> None:
        *path, last = place.split('.')
        for key in path:
            cfg = cfg[key]
        cfg[last] = value

    return change


def renamed(place: str, name: str) -> Callable[[dict], None]:
    def change(cfg: dict) -> None:
        *path, last = place.split('.')
        for key in path:
            cfg = cfg[key]
        cfg[name] = cfg.pop(last)

    return change


def left_out(place: str) -> Callable[[dict], None]:
    def change(cfg: dict) -> None:
        *path, last = place.split('.')
        for key in path:
            cfg = cfg[key]
        cfg.pop(last)

    return change


def swapped(cfg: dict) -> None:
    student, teacher = cfg['model']['student'], cfg['model']['teacher']
    cfg['model']['student'] = teacher['config']['model']
    teacher['config'] = {**teacher['config'], 'model': student}


def teachers(of: str) -> Callable[[dict], None]:
    """The teacher's weights in another file layout."""

    def change(cfg: dict) -> None:
        from mmpretrain import get_model

        teacher = cfg['model']['teacher']
        state = torch.load(teacher['checkpoint'])['state_dict']
        if of == 'torchvision':
            state = {name.removeprefix('backbone.'): value for name, value in state.items()}
        if of == 'the student':
            own = dict(copy.deepcopy(teacher['config']), model=copy.deepcopy(cfg['model']['student']))
            state = get_model(Config(own), pretrained=False).state_dict()
        torch.save(state, 'other.pth')
        teacher['checkpoint'] = 'other.pth'

    return change


def one_image_over(cfg: dict) -> None:
    """A batch norm on pooled features, and 33 images in batches of 16, so that the last batch has one image."""
    cfg['model'].update(type='mmkd.KD')
    neck = dict(type='LinearNeck', in_channels=64, out_channels=64, norm_cfg=dict(type='BN1d'))
    cfg['model']['student']['neck'] = [dict(type='GlobalAveragePooling'), neck]
    cfg['train_dataloader']['dataset'].update(indices=33)
    cfg['train_dataloader'].update(batch_size=16, drop_last=False)


def corrupt(workers: int, loader: str = 'train_dataloader') -> Callable[[dict], None]:
    """A folder of images whose last file is not an image."""

    def change(cfg: dict) -> None:
        for kind in range(10):  # the other loader has the digits' classes
            (Path('images') / str(kind)).mkdir(parents=True)
            for i in range(17 if kind < 2 else 0):
                Image.new('RGB', (16, 16)).save(Path('images', str(kind), f'{i}.png'))
        Path('images/1/16.png').write_bytes(b'none')
        pipeline = [dict(type='LoadImageFromFile'), dict(type='PackInputs')]
        dataset = dict(type='CustomDataset', data_root='images', pipeline=pipeline)
        cfg['model'].update(type='mmkd.KD')
        cfg[loader].update(dataset=dataset, batch_size=16, num_workers=workers)
        cfg[loader]['sampler'] = dict(type='DefaultSampler', shuffle=False)
        cfg['train_cfg'].update(val_interval=1, max_epochs=1)
        cfg['default_hooks']['stages']['score_teacher'] = False

    return change


def no_delete(cfg: dict) -> None:
    """Write the config that mmengine makes of one without _delete_."""
    cfg['model'] = {**copy.deepcopy(cfg['model']['student']), **cfg['model']}


MISTAKES = {
    'no _delete_': (
        no_delete,
        BEFORE,
        'model: it mixes backbone, head, neck of the inherited model with what SSKD takes; write model = '
        "dict(_delete_=True, type='mmkd.SSKD', student=..., teacher=...).",
    ),
    'SKKD': (at('model.type', 'mmkd.SKKD'), BEFORE, 'model.type: mmkd has no SKKD. Did you mean mmkd.SSKD'),
    'sskd': (at('model.type', 'mmkd.sskd'), BEFORE, 'model.type: mmkd has no sskd. Did you mean mmkd.SSKD'),
    'no scope': (at('model.type', 'SSKD'), AFTER, "model.type: it is mmkd's own; write type='mmkd.SSKD'."),
    'no type': (left_out('model.type'), BEFORE, 'model: it has no type; name the class to build.'),
    'techer': (
        renamed('model.teacher', 'techer'),
        BEFORE,
        'model.techer: SSKD takes no techer. Did you mean teacher or head_from_teacher?',
    ),
    'no teacher': (
        left_out('model.teacher'),
        BEFORE,
        'model: it lacks teacher; write student={{_base_.model}}, the config of the model to train, and '
        'teacher=dict(config=..., checkpoint=...).',
    ),
    'fraction': (
        at('default_hooks.stages.fraction', [0.5, 0.5]),
        BEFORE,
        'default_hooks.stages.fraction: StageScheduleHook takes no fraction. Did you mean fractions?',
    ),
    "an argument that mmengine's hook swallows": (
        at('default_hooks.checkpoint.max_keep_ckpt', 1),
        BEFORE,
        'checkpoint.max_keep_ckpt: SafeCheckpointHook takes no max_keep_ckpt. Did you mean max_keep_ckpts',
    ),
    'nothing near': (
        at('default_hooks.stages.zzz', 1),
        BEFORE,
        ' takes no zzz. It takes fractions, keep_best',
    ),
    'kind alone': (
        at('model.mimic_loss', dict(kind='l1')),
        BEFORE,
        "model.mimic_loss: it has no type; add type='mmkd.FeatureMimicLoss'.",
    ),
    'kind alone of a stage': (
        at('model.stage_losses', dict(layer1=dict(loss_weight=2.0))),
        BEFORE,
        "model.stage_losses.layer1: it has no type; add type='mmkd.FeatureMimicLoss' or another of mmkd.losses.",
    ),
    'tau alone': (
        lambda cfg: (at('model.type', 'mmkd.KD')(cfg), at('model.soft_loss', dict(tau=4.0))(cfg)),
        BEFORE,
        "model.soft_loss: it has no type; add type='mmkd.SoftTargetLoss' or another of mmkd.losses.",
    ),
    'an option of other losses alone': (
        at('model.mimic_loss', dict(tau=4.0)),
        BEFORE,
        "model.mimic_loss: it has no type; add type='mmkd.CRDLoss' or another of mmkd.losses.",
    ),
    'loss misspelled': (
        at('model.mimic_loss', dict(type='mmkd.FeatureMimic')),
        BEFORE,
        'model.mimic_loss.type: mmkd has no FeatureMimic. Did you mean mmkd.FeatureMimicLoss',
    ),
    'a text': (
        lambda cfg: (Path('x.pth').write_text('<html>'), at('model.teacher.checkpoint', 'x.pth')(cfg)),
        AFTER,
        'it is damaged, or no checkpoint of torch; get a good copy of it.',
    ),
    'swapped': (
        swapped,
        AFTER,
        "teacher.pth fits model.student and not the teacher; name the teacher's own, or swap student and teacher",
    ),
    "the student's weights": (
        teachers('the student'),
        AFTER,
        "model.teacher.checkpoint: other.pth fits model.student and not the teacher; name the teacher's own",
    ),
    "torchvision's weights": (
        teachers('torchvision'),
        AFTER,
        "Its names lack the prefix 'backbone.', as in files of torchvision and timm; save those of the backbone",
    ),
    'too short': (
        at('train_cfg.max_epochs', 3),
        AFTER,
        'default_hooks.stages.fractions: 3 epochs are too few for 5 stages, nothing is left for layer1; train longer '
        '(train_cfg.max_epochs=7 is enough), learn fewer stages or change the fractions.',
    ),
    'one image over': (
        one_image_over,
        AFTER,
        'train_dataloader: a batch of one image reached a batch norm, which needs two; set drop_last=True there, or a',
    ),
    'a corrupt image': (
        corrupt(workers=0),
        AFTER,
        'train_dataloader.dataset: an image cannot be loaded, images/1/16.png (AssertionError: failed to load image: '
        'images/1/16.png); put a good copy in its place, take it out of the data, or fix the pipeline.',
    ),
    'a corrupt image for a worker': (
        corrupt(workers=1),
        AFTER,
        'train_dataloader.dataset: an image cannot be loaded (AssertionError: failed to load image: images/1/16.png)',
    ),
    'a corrupt image to validate': (
        corrupt(workers=0, loader='val_dataloader'),
        AFTER,
        'val_dataloader.dataset: an image cannot be loaded, images/1/16.png (AssertionError',
    ),
    'weights to start from that are not there': (
        at('load_from', 'nowhere.pth'),
        BEFORE,
        'load_from: nowhere.pth does not exist in the current folder, ',
    ),
    'weights to start from of another network': (
        lambda cfg: at('load_from', cfg['model']['teacher']['checkpoint'])(cfg),
        AFTER,
        'teacher.pth does not fit the network to train: backbone.conv1.weight ((12, 3, 3, 3) instead of (8, 3, 3, 3)),',
    ),
    'pretrained weights that are not there': (
        at('model.student.backbone.init_cfg', dict(type='Pretrained', checkpoint='nowhere.pth')),
        AFTER,
        'model.student.backbone.init_cfg does not fit (FileNotFoundError: nowhere.pth can not be found',
    ),
    'no backbone': (
        at('model.student', dict(type='mmkd.InOnePiece')),
        AFTER,
        "whose stages could be told apart; build it as dict(type='ImageClassifier', backbone=..., neck=..., head=...)",
    ),
    'what a class says of itself': (
        at('model.stage_losses', dict(layer2=dict(type='mmkd.FeatureMimicLoss', kind='l3'))),
        AFTER,
        "model.stage_losses.layer2: FeatureMimicLoss: kind must be one of mse, l1, smooth_l1, cosine, not 'l3'.",
    ),
    "a toolbox's class misspelled": (
        at('model.student.backbone.type', 'ResNet_CIFR'),
        AFTER,
        'model.student.backbone.type: mmpretrain has no ResNet_CIFR. Did you mean ResNet_CIFAR',
    ),
    "a toolbox's class that nothing is like": (
        at('model.student.backbone.type', 'QQQQQQQQ'),
        AFTER,
        'mmpretrain has no QQQQQQQQ. If it is your own, import its module: custom_imports = dict(imports=[...]).',
    ),
    "a toolbox's argument misspelled": (
        at('model.student.backbone.stem_chanels', 8),
        AFTER,
        'model.student.backbone.stem_chanels: ResNet_CIFAR takes no stem_chanels. Did you mean stem_channels',
    ),
}


@pytest.mark.parametrize('name', MISTAKES)
def test_the_commonest_mistakes(config, tmp_path, name):
    change, before, sentence = MISTAKES[name]
    change(config)
    with pytest.raises(UserError) as caught:
        start(config, tmp_path / 'run')
    said = str(caught.value)
    assert sentence in said
    assert '\n' not in said
    assert (tmp_path / 'run').exists() is not before


def test_without_a_mistake_it_runs(config, tmp_path):
    with pytest.raises(Enough):
        start(config, tmp_path / 'run')


def test_a_student_larger_than_its_teacher_is_told_in_the_log(config, tmp_path, capfd):
    swapped(config)
    config['model']['teacher']['checkpoint'] = None
    with pytest.raises(Enough):
        start(config, tmp_path / 'run')
    said = [line for line in capfd.readouterr().out.splitlines() if 'are the two swapped?' in line]
    assert len(said) == 1
    assert 'The student has more parameters (395,' in said[0]
