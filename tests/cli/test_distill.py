"""``mmkd distill``, run in an empty folder."""

import re
from contextlib import nullcontext
from pathlib import Path
from unittest.mock import MagicMock

import pytest
import torch

from mmkd.checkpoints.safe_load import load_checkpoint
from mmkd.cli.short_config import METHODS, ShortConfig
from mmkd.distillers import __all__ as distillers
from mmkd.utils.configs import load_config

pytest.importorskip('mmpretrain')
pytest.importorskip('sklearn')
STUDENT = 'mmkd::baselines/resnet18-w16_digits.py'
SMALL = """
_base_ = 'mmkd::baselines/resnet18-w16_digits.py'
model = dict(
    backbone=dict(stem_channels={width}, base_channels={width}),
    head=dict(in_channels={width} * 8))
train_dataloader = dict(batch_size=16, dataset=dict(indices=64))
val_dataloader = dict(dataset=dict(indices=40))
"""


@pytest.fixture(scope='module')
def weights(tmp_path_factory) -> Path:
    """The config of a small teacher."""
    from mmpretrain import get_model

    folder = tmp_path_factory.mktemp('teacher')
    (folder / 'teacher.py').write_text(SMALL.format(width=12))
    file = folder / 'teacher.pth'
    torch.save(dict(state_dict=get_model(load_config(str(folder / 'teacher.py')), pretrained=False).state_dict()), file)
    return file


@pytest.fixture
def folder(tmp_path, monkeypatch, weights) -> Path:
    """Configs and weights of a small student and its teacher, in the current folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'own').mkdir()
    (tmp_path / 'own' / 'student.py').write_text(SMALL.format(width=8))
    (tmp_path / 'teacher.py').write_text(SMALL.format(width=12))
    (tmp_path / 'teacher.pth').symlink_to(weights)
    return tmp_path


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob('*') if path.is_file()}


def test_every_method_has_a_name():
    assert sorted(METHODS.values()) == sorted(distillers)


@pytest.mark.parametrize('method', sorted(METHODS.keys() - {'simkd'}))  # whose config is for another pair
def test_the_config_is_one_as_they_are_shipped(method):
    """Configs are equal except for the docstring and the way the student is named."""
    shipped = f'{method.replace("-", "_")}/{method}_resnet56_resnet20_cifar100.py'
    short = ShortConfig(
        method,
        'mmkd::baselines/resnet20_cifar100.py',
        'mmkd::baselines/resnet56_cifar100.py',
        'work_dirs/resnet56_cifar100/epoch_240.pth',
        None,
    )
    text = Path(__file__).parents[2].joinpath('configs', shipped).read_text()
    wanted = text.replace("'../baselines/", "'mmkd::baselines/").splitlines()
    assert short.text(Path()).splitlines()[1:] == wanted[1:]
    assert short.file_name == f'{method}_resnet56_cifar100_resnet20_cifar100.py'


def test_the_student_is_named_as_seen_from_the_file(folder):
    (folder / 'mine').mkdir()
    student = Path('own', 'student.py')
    whole = str(student.resolve())
    for named, base in ((str(student), '../own/student.py'), (whole, whole), (STUDENT, STUDENT)):
        text = ShortConfig('kd', named, 'teacher.py', "it's.pth", 3).text(Path('mine'))
        assert f'_base_ = {base!r}\n' in text
        if named == str(student):
            (folder / 'mine' / 'my.py').write_text(text)
    cfg = load_config('mine/my.py')
    assert cfg.model.student.backbone.base_channels == 8
    assert (cfg.model.teacher.checkpoint, cfg.train_cfg.max_epochs) == ("it's.pth", 3)


@pytest.mark.parametrize(('epochs', 'counts'), [(25, [225, 25]), (None, [90, 10]), (10, [90, 10])])
def test_other_epochs_stretch_the_policy(folder, distill, monkeypatch, epochs, counts):
    """As the config that is written says, which takes the place of the student's list."""
    (folder / 'own' / 'student.py').write_text(
        SMALL.format(width=8)
        + "param_scheduler = [dict(type='LinearLR', by_epoch=False, end=90), dict(type='CosineAnnealingLR', T_max=10)]"
    )
    args = ['--epochs', epochs] * (epochs is not None)
    monkeypatch.setattr('mmkd.cli.train.prepared', nullcontext)  # nothing is trained
    monkeypatch.setattr('mmkd.cli.train.parse', MagicMock)
    assert distill('own/student.py', *args) is None
    cfg = load_config('sskd_teacher_student.py')
    assert cfg.train_cfg.max_epochs == (epochs or 10)
    assert [cfg.param_scheduler[0].end, cfg.param_scheduler[1].T_max] == counts
    text = Path('sskd_teacher_student.py').read_text()
    assert ('param_scheduler' in text) == (epochs == 25)


SSKD_PLAN = (
    '  layer2 ',
    'mimics backbone.layer2 24x8x8',
    'Schedule in epochs: layer1 2, layer2 1, layer3 1, layer4 2, all 6',
    "Mimicked beside the student's own loss: layer1, layer2, layer3, layer4.",
)


@pytest.mark.parametrize(
    ('method', 'told', 'phases'),
    [
        ('sskd', SSKD_PLAN, ['layer1', 'layer2', 'layer3', 'layer4', 'all']),
        (
            'mhkd',
            ('Schedule in epochs: all 12', 'Auxiliary heads on backbone.layer1 (teacher: backbone.layer1), '),
            ['all'],
        ),
        ('kd', ('Schedule in epochs: all 12',), ['all']),
        ('feature-kd', ("Mimicked beside the student's own loss: layer1, layer2, layer3, layer4.",), ['all']),
    ],
)
def test_a_dry_run_tells_the_plan_and_leaves_nothing(folder, distill, capsys, method, told, phases):
    before = files(folder)
    flags = '--work-dir', folder / 'run', '--cfg-options', 'train_dataloader.num_workers=0'
    assert distill('own/student.py', '--method', method, '--epochs', 12, '--dry-run', '--', *flags) is None
    said = capsys.readouterr().out
    assert f"    type='mmkd.{METHODS[method]}',\n" in said
    assert 'train_cfg = dict(max_epochs=12)\n' in said
    for text in told:
        assert text in said
    head, *rows = said.partition('Forward and backward of ')[2].splitlines()
    assert head.startswith('8 images on ')
    assert [row.split()[0] for row in rows] == ['the', *phases]
    assert all(re.search(r' [\d,]+ ms( +\d+\.\d x)?$', row) for row in rows)
    assert [row.endswith(' x') for row in rows] == [False] + [True] * len(phases)
    assert files(folder) == before


def test_it_writes_the_config_and_trains(folder, distill, capsys):
    args = '--method', 'KD', '--epochs', 1, '--out', 'mine/my kd.py', '--', '--work-dir', 'a run'
    assert distill('own/student.py', *args) is None
    said = capsys.readouterr().out
    assert "The config is mine/my kd.py; the training is: mmkd train 'mine/my kd.py' --work-dir 'a run'\n" in said
    assert load_checkpoint('a run/epoch_1.pth')['meta']['epoch'] == 1
    assert (folder / 'mine' / 'my kd.py').read_text().startswith('"""KD: teacher teaches student."""\n_base_ = ')


@pytest.mark.parametrize(
    ('wrong', 'said'),
    [
        (('--epochs', '2'), '2 epochs are too few for 5 stages'),  # told by the plan
        (('--', '--cfg-options', 'train_dataloader.batch_size=0'), 'batch_size'),  # before anything is built
    ],
)
def test_a_config_that_does_not_work_is_not_left_behind(folder, distill, wrong, said):
    """It would be in the way of the corrected one."""
    out = '--out', 'again.py'
    assert said in distill('own/student.py', *out, *wrong)
    assert not Path('again.py').exists()
    Path('again.py').write_text(ShortConfig('sskd', 'own/student.py', 'teacher.py', 'teacher.pth', None).text(Path()))
    assert 'batch_size' in distill('own/student.py', *out, '--', '--cfg-options', 'train_dataloader.batch_size=0')
    assert Path('again.py').exists()  # it was there before


ITERATIONS = "_base_ = 'student.py'\ntrain_cfg = dict(_delete_=True, by_epoch=False, max_iters=9)\n"


@pytest.mark.parametrize(
    ('student', 'args', 'message'),
    [
        (
            STUDENT,
            ('--method', 'ssk'),
            '--method: there is no ssk; it is one of sskd, mhkd, kd, feature-kd, simkd. Did you mean',
        ),
        (STUDENT, ('--epochs', '0'), '--epochs: it must be a whole number, 1 or more, not 0.'),
        (
            'mmkd::baselines/resnet20_cifar100.py',
            ('--epochs', '5'),
            "--epochs: the student's param_scheduler.milestones, [150, 180, 210] of 240 epochs, would be [3, 4, 4]",
        ),
        (STUDENT, ('--out', 'my.yaml'), '--out: my.yaml must end with .py.'),
        (STUDENT, ('--out', 'teacher.py'), '--out: teacher.py is there already, with another content; name another'),
        (STUDENT, ('--out', 'teacher.py/my.py'), '--out: teacher.py/my.py cannot be written ('),
        ('own/studnt.py', (), 'config own/studnt.py does not exist in the current folder, '),
        (
            'mmkd::sskd/sskd_resnet56_resnet20_cifar100.py',
            (),
            'config mmkd::sskd/sskd_resnet56_resnet20_cifar100.py: it is',
        ),
        (
            'mmkd::baselines/lazy/resnet18_w16_digits.py',
            (),
            'config mmkd::baselines/lazy/resnet18_w16_digits.py: it is a l',
        ),
        ('mmkd::_base_/datasets/digits.py', (), '_base_/datasets/digits.py: training needs model, '),
        (
            'own/iterations.py',
            ('--epochs', '3'),
            '--epochs: own/iterations.py counts iterations; leave it out, and end',
        ),
    ],
)
def test_mistakes(folder, distill, student, args, message):
    (folder / 'own' / 'iterations.py').write_text(ITERATIONS)
    before = files(folder)
    said = distill(student, *args)
    assert message in said
    assert '\n' not in said
    assert files(folder) == before


@pytest.mark.parametrize(
    ('teacher', 'message'),
    [
        (
            ('techer.py', 'teacher.pth'),
            'error: model.teacher.config: config techer.py does not exist in the current folder',
        ),
        (
            ('teacher.py', 'techer.pth'),
            'error: --teacher: techer.pth does not exist in the current folder, ',
        ),
        (
            ('teacher.py', 'teacher.py'),
            'error: --teacher: teacher.py is a config by its name; name the file of weights',
        ),
    ],
)
def test_teachers_that_are_not_there(folder, distill, teacher, message):
    before = files(folder)
    assert distill('own/student.py', by=teacher).startswith(message)
    assert files(folder) == before
