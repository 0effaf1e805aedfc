"""Names of candidates; the rest is in test_compare."""

import re

import pytest

from mmkd.cli.compare.candidates import candidates, unique_names
from mmkd.errors import UserError


@pytest.mark.parametrize(
    ('files', 'names'),
    [
        (['r34.pth', 'runs/r18.pth'], ['r34', 'r18']),
        (['runs/teacher/epoch_40.pth', 'runs/kd/epoch_20.pth'], ['teacher', 'kd']),
        (['runs/kd/epoch_20.pth', 'runs/kd/epoch_5.pth', 'r.pth'], ['kd/epoch_20', 'kd/epoch_5', 'r']),
        (['a/kd/epoch_2.pth', 'b/kd/epoch_2.pth'], ['a/kd/epoch_2', 'b/kd/epoch_2']),
        (['a/best_accuracy_top1_epoch_3.pth', 'b/bestiary.pth', 'latest.pth'], ['a', 'bestiary', 'latest']),
        (['a/r18.pth', 'a/r18.pth', 'a/r18.pth'], ['a/r18', 'a/r18 (2)', 'a/r18 (3)']),
        (['https://host/r18_8xb16.pth', 'r18.pth'], ['r18_8xb16', 'r18']),
    ],
)
def test_names(files, names):
    assert unique_names(files) == names


@pytest.mark.parametrize('folder', ['.', '/', '..'])
def test_a_folder_for_a_checkpoint(folder):
    with pytest.raises(UserError, match=f'compare: {re.escape(folder)} is a folder; name a file in it'):
        candidates([('mmkd::baselines/resnet18-w16_digits.py', folder)], None, 'test')
