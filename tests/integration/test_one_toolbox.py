"""Each toolbox works where the other is not installed."""

import subprocess
import sys

import pytest

from tests.conftest import ROOT

# The import system finds everything except one toolbox, as if that were not installed.
WITHOUT = """
import runpy, sys
from importlib.machinery import PathFinder
find = PathFinder.find_spec
PathFinder.find_spec = classmethod(
    lambda cls, name, *rest: None if name.split('.')[0] == {toolbox!r} else find(name, *rest))
sys.argv[0] = {tool!r}
runpy.run_path({tool!r}, run_name='__main__')
"""


def train_without(toolbox: str, config: str, work_dir, *options: str) -> subprocess.CompletedProcess:
    tool = str(ROOT / 'tools' / 'train.py')
    return subprocess.run(
        [
            sys.executable,
            '-c',
            WITHOUT.format(toolbox=toolbox, tool=tool),
            str(ROOT / 'configs' / 'baselines' / config),
            '--work-dir',
            str(work_dir),
            '--cfg-options',
            'train_cfg.max_epochs=1',
            'train_cfg.val_interval=1',
            'train_dataloader.dataset.indices=32',
            'val_dataloader.dataset.indices=8',
            *options,
        ],
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_mmpretrain_without_mmdet(tmp_path):
    pytest.importorskip('mmpretrain')
    pytest.importorskip('sklearn')
    run = train_without('mmdet', 'resnet18-w16_digits.py', tmp_path)
    assert run.returncode == 0, run.stderr[-2000:]
    assert (tmp_path / 'epoch_1.pth').exists()


def test_mmdet_without_mmpretrain(tmp_path, digits_coco):
    pytest.importorskip('mmdet')
    data = [f'{part}_dataloader.dataset.data_root={digits_coco}/' for part in ('train', 'val', 'test')]
    data += [f'{part}_evaluator.ann_file={digits_coco}/val.json' for part in ('val', 'test')]
    run = train_without('mmpretrain', 'retinanet_r18-w16_digits-coco.py', tmp_path, *data)
    assert run.returncode == 0, run.stderr[-2000:]
    assert (tmp_path / 'epoch_1.pth').exists()


def test_a_missing_toolbox_is_named(tmp_path):
    run = train_without('mmdet', 'retinanet_r18-w16_digits-coco.py', tmp_path / 'run')
    assert run.returncode == 1
    assert run.stderr.splitlines()[-1].startswith('error: config ')
    assert 'mmdet is not installed; run: pip install "mmkd[onedl]"' in run.stderr
    assert not (tmp_path / 'run').exists()
