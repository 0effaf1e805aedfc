import pytest

from mmkd.errors import UserError
from mmkd.reporting.settings import comparable, read_settings


def test_a_config_is_read_as_data_and_not_run(tmp_path):
    file = tmp_path / 'config.py'
    file.write_text(
        "import os\nos.mkdir('here')\nmodel = dict(type='A', sizes=(1, -2), inner=[dict(b=None), {'c d': 3}])\n"
        "lr = float('inf')\nmore = dict(**dict(e=1), f=True)\n"
    )
    assert read_settings(file) == dict(
        model=dict(type='A', sizes=[1, -2], inner=[dict(b=None), {'c d': 3}]), lr="float('inf')", more=dict(e=1, f=True)
    )
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize('text', ['model = dict(', 'work_dir = 1', '\0'])
def test_a_config_that_is_none(tmp_path, text):
    file = tmp_path / 'config.py'
    file.write_text(text)
    with pytest.raises(UserError, match='config'):
        read_settings(file)


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
