import pytest

from mmkd.cli.report import write_report
from mmkd.errors import UserError
from mmkd.reporting.settings import comparable, read_settings
from tests.work_dirs import write_session


def test_a_config_is_read_as_data_and_not_run(tmp_path):
    file = tmp_path / 'config.py'
    file.write_text(
        "import os\nos.mkdir('here')\nmodel = dict(type='A', sizes=(1, -2), inner=[dict(b=None), {'c d': 3}])\n"
        "lr = float('inf')\nmore = dict(**dict(e=1), f=True)\n"
    )
    assert read_settings(file) == dict(
        model=dict(type='A', sizes=(1, -2), inner=[dict(b=None), {'c d': 3}]), lr="float('inf')", more=dict(e=1, f=True)
    )
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize('text', ['model = dict(', 'work_dir = 1', '\0', "model = dict(student='a')"])
def test_a_config_that_is_none(tmp_path, text):
    file = tmp_path / 'config.py'
    file.write_text(text)
    with pytest.raises(UserError, match='config'):
        read_settings(file)


def test_parts_that_are_none_or_no_dicts_are_as_good_as_missing(tmp_path):
    run = write_session(tmp_path / 'run')
    file = run / '20261128_100125' / 'vis_data' / 'config.py'
    for old, new in (
        ('CONFIG', ''),
        ("checkpoint=dict(type='CheckpointHook', interval=1)", 'checkpoint=None'),
        ('randomness = dict(seed=0)', 'randomness = None'),
        ('train_cfg = dict(', 'train_cfg = str('),
        ('val_dataloader = dict(', 'val_dataloader = list('),
        ('default_hooks = dict(', 'default_hooks = list('),
    ):
        file.write_text(file.read_text().replace(old, new))
        assert 'accuracy/top1' in write_report([run], tmp_path / 'report.html', images=0).read_text()


def test_what_is_compared():
    settings = dict(
        model=dict(type='mmkd.KD', student=dict(type='S', depth=2), weight=3),
        work_dir='a',
        default_hooks=dict(logger=dict(interval=1), stages=dict(type='H', lengths=[1, 2])),
        train_dataloader=dict(num_workers=2, batch_size=4),
        test_cfg=dict(),
        test_dataloader=dict(batch_size=1),
    )
    assert comparable(settings) == {
        'model.type': 'mmkd.KD',
        'model.weight': 3,
        'student.type': 'S',
        'student.depth': 2,
        'default_hooks.stages.lengths': [1, 2],
        'train_dataloader.batch_size': 4,
    }
    alone = comparable({**settings, 'model': settings['model']['student']})
    assert alone['student.depth'] == 2
    assert 'model.type' not in alone
