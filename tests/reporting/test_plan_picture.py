"""The picture of the stages, from the log of a run."""

import re

from mmkd.reporting.groups import Group
from mmkd.reporting.plan_picture import TIMES, pictures
from mmkd.reporting.run import read_run
from tests.work_dirs import write_session


def test_each_stage_has_a_row_with_its_sizes_and_what_teaches_it(tmp_path):
    picture = pictures([Group('sskd', [read_run(write_session(tmp_path / 'sskd'))])])
    rows = re.sub('<svg.*?</svg>', '->', picture).partition('schedule')[0]
    rows = [part for part in re.sub('<[^>]+>', '|', rows.replace(TIMES, 'x')).split('|') if part.strip()]
    assert rows[:3] == ['sskd', 'student', 'teacher']
    assert rows[3:-1] == [
        *('layer1', '16 x 16 x 16', '14,480 parameters', 'mimics->', 'layer1', '24 x 16 x 16'),
        *('neck', '32 x 8 x 8 · 32 x 4 x 4', '51,648 parameters', 'no loss of its own'),
        *('head', '1,300 parameters', 'learns the task'),
    ]
