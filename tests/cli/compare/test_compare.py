"""``mmkd compare`` with classifiers trained for ten iterations: a teacher, a student alone and a distilled one."""

import json
from pathlib import Path

import pytest
import torch
from mmengine.runner import Runner

from mmkd.checkpoints.safe_load import load_checkpoint
from mmkd.evaluation.calibration import calibration_error
from mmkd.utils.configs import load_config
from mmkd_command.main import main
from tests.distil import KD

pytest.importorskip('mmpretrain')
pytest.importorskip('sklearn')
SMALL = """
_base_ = 'mmkd::baselines/resnet18-w16_digits.py'
model = dict(
    backbone=dict(stem_channels={width}, base_channels={width}),
    head=dict(in_channels={width} * 8))
data_preprocessor = dict(mean=[{mean}] * 3)
train_dataloader = dict(batch_size={width}, dataset=dict(indices=10 * {width}))
val_dataloader = dict(batch_size={batch}, dataset=dict(indices=70))
test_dataloader = dict(batch_size={batch}, dataset=dict(indices=50))
train_cfg = dict(max_epochs=1)
randomness = dict(seed={width})
"""
IMAGES, WIDTHS = 50, dict(teacher=12, student=8)


@pytest.fixture(scope='module')
def trained(tmp_path_factory) -> Path:
    """A folder with all three."""
    folder = tmp_path_factory.mktemp('compare')
    (folder / 'teacher.py').write_text(SMALL.format(width=12, mean=100, batch=16))
    (folder / 'student.py').write_text(SMALL.format(width=8, mean=127.5, batch=21))
    (folder / 'kd.py').write_text(KD.replace('TEACHER', 'teacher.py'))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for name in ('teacher', 'student', 'kd'):
            options = ['default_hooks.logger.interval=1', *(['model.teacher.checkpoint=teacher.pth'] * (name == 'kd'))]
            patch.setattr('sys.argv', ['mmkd', 'train', f'{name}.py', '--work-dir', name, '--cfg-options', *options])
            main()
            (folder / f'{name}.pth').symlink_to(folder / name / 'epoch_1.pth')
    return folder


@pytest.fixture
def folder(trained, monkeypatch) -> Path:
    monkeypatch.chdir(trained)
    return trained


PAIRS = 'teacher.py', 'teacher.pth', 'student.py', 'student.pth', 'kd.py', 'kd.pth'


def predicted(config: str, checkpoint: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Probabilities and labels of a plain network, one image at a time."""
    from mmengine.registry import MODELS, init_default_scope

    cfg = load_config(config)
    init_default_scope('mmpretrain')
    model = MODELS.build(dict(cfg.model, data_preprocessor=cfg.data_preprocessor)).eval()
    model.load_state_dict(load_checkpoint(checkpoint, 'cpu', 'silent')['state_dict'])
    loader = Runner.build_dataloader(dict(cfg.test_dataloader, batch_size=1, collate_fn=dict(type='default_collate')))
    with torch.no_grad():
        samples = [sample for batch in loader for sample in model.test_step(batch)]
    return torch.stack([sample.pred_score for sample in samples]), torch.cat([sample.gt_label for sample in samples])


def test_three_classifiers(folder, compare, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv('COLUMNS', '80')
    assert compare(*PAIRS, '--out', tmp_path / 'out', '--device', 'cpu', '--batch-size', 5) is None
    said = capsys.readouterr()
    assert said.err.splitlines()[-3:] == ['1 of 3: teacher', '2 of 3: student', '3 of 3: kd']
    table, files = said.out[said.out.index('  top1') :].split('\nIn ')
    assert max(map(len, table.splitlines())) <= 80
    assert files == f'{tmp_path / "out"}: comparison.csv, comparison.json, comparison.md\n'
    read = json.loads((tmp_path / 'out' / 'comparison.json').read_text())
    assert (read['split'], read['images'], read['device'], read['batch_size']) == ('test', IMAGES, 'cpu', 5)
    theirs, labels = predicted('teacher.py', 'teacher.pth')
    assert len(labels) == IMAGES
    for row, config in zip(read['networks'], ('teacher.py', 'student.py', 'student.py')):
        scores, same = predicted(config, row['checkpoint'])
        assert torch.equal(same, labels)
        assert row['accuracy/top1'] == pytest.approx(100 * float((scores.argmax(1) == labels).float().mean()), abs=1e-4)
        agreement = 100 * float((scores.argmax(1) == theirs.argmax(1)).float().mean())
        assert row['agreement'] == pytest.approx(agreement, abs=1e-4)
        assert row['calibration_error'] == pytest.approx(calibration_error(scores, labels), abs=1e-3)
        weights = load_checkpoint(row['checkpoint'], 'cpu', 'silent')['state_dict']
        learned = [tensor for name, tensor in weights.items() if not name.endswith(('_mean', '_var', '_tracked'))]
        assert row['parameters'] == sum(tensor.numel() for tensor in learned)
        assert row['memory_bytes'] > sum(tensor.nbytes for tensor in weights.values())
        assert row['images_per_second'] > 0
    teacher, student, distilled = read['networks']
    assert teacher['agreement'] == 100
    assert student['accuracy/top1'] != distilled['accuracy/top1'] or student['agreement'] != distilled['agreement']
    assert teacher['flops'] > student['flops'] == distilled['flops']
    assert (student['parameters'], student['memory_bytes']) == (distilled['parameters'], distilled['memory_bytes'])


def test_again_it_finds_the_same(folder, compare, tmp_path):
    """All but the time."""
    for name in ('a', 'b'):
        assert compare(*PAIRS[4:], *PAIRS[:2], '--out', tmp_path / name, '--split', 'val', '--names', 'KD', 'T') is None
    first, second = (json.loads((tmp_path / name / 'comparison.json').read_text()) for name in ('a', 'b'))
    for row in (*first['networks'], *second['networks']):
        row.pop('images_per_second')
    assert first == second
    assert (first['images'], first['batch_size']) == (70, 21)
    assert [row['name'] for row in first['networks']] == ['KD', 'T']


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (
            'test_dataloader = dict(dataset=dict(indices=40))',
            'teacher and student cannot be compared: test_dataloader.dataset.indices is 50 for the one and 40 for the',
        ),
        (
            "test_dataloader = dict(dataset=dict(metainfo=dict(classes=list('0123456798'))))",
            'teacher and student cannot be compared: the classes of test_dataloader.dataset (10 and 10) are not the '
            "same, beginning with '8'; ",
        ),
        (
            "test_evaluator = dict(_delete_=True, type='SingleLabelMetric')",
            "teacher and student cannot be compared: test_evaluator.type is 'Accuracy' for the one and 'SingleLabel",
        ),
        (
            'test_evaluator = dict(topk=(3,))',
            'teacher and student cannot be compared: test_evaluator is accuracy/top1 for the one and accuracy/top3 for',
        ),
        (
            'test_dataloader = dict(sampler=dict(shuffle=True))',
            'teacher and student cannot be compared: the labels of test_dataloader.dataset are not the same, or their',
        ),
        ('model = dict(head=dict(in_channels=8 * 8, num_classes=11))', 'student: compare: student.pth does not fit'),
        ('test_dataloader = None', 'own.py: comparing needs model, test_dataloader, test_cfg, test_evaluator, but'),
    ],
)
def test_refused(folder, compare, tmp_path, change, message):
    (tmp_path / 'own.py').write_text(f'_base_ = {str(folder / "student.py")!r}\n{change}\n')
    said = compare(*PAIRS[:2], tmp_path / 'own.py', 'student.pth', '--out', tmp_path / 'out')
    assert message in said
    assert '\n' not in said
    assert not (tmp_path / 'out').exists() or not list((tmp_path / 'out').iterdir())


@pytest.mark.parametrize(
    ('args', 'message'),
    [
        (PAIRS[:3], 'error: compare: student.py has no partner; name a config and a checkpoint for each network.'),
        ((*PAIRS, '--names', 'a', 'b'), 'error: --names: 3 names are needed, one for each checkpoint, no two of them'),
        ((*PAIRS, '--names', 'a', 'b', 'a'), 'error: --names: 3 names are needed, one for each checkpoint, no two of'),
        ((*PAIRS, '--batch-size', '0'), 'error: --batch-size: it must be a whole number of images, 1 or more, not 0.'),
        ((*PAIRS, '--device', 'gpu'), 'error: --device: gpu cannot be used here ('),
        (('student.py', 'nowhere.pth'), 'error: compare: nowhere.pth does not exist in the current folder'),
        (('student.py', 'kd.py'), 'error: compare: kd.py is a config by its name; name the file of weights (.pth)'),
        (
            ('student.py', 'teacher.pth'),
            'error: teacher: compare: teacher.pth does not fit the network: backbone.conv1.weight ((',
        ),
        (
            ('student.py', 'student.pth', 'teacher.py', 'student.pth', '--names', 'one', 'two'),
            'error: two: compare: student.pth does not fit the network: ',
        ),
        ((*PAIRS[:2], '--out', 'student.py'), 'error: --out: student.py cannot be written ('),
    ],
)
def test_mistakes(folder, compare, args, message):
    before = sorted(map(str, folder.rglob('*')))
    said = compare(*args)
    assert said.startswith(message)
    assert '\n' not in said
    assert sorted(map(str, folder.rglob('*'))) == before
