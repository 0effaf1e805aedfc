"""The steps for a GPU at a tiny size on the CPU; a failure stays within its step."""

import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import ROOT

DEVICE = ROOT / 'tools' / 'device'


@pytest.fixture
def device(monkeypatch):
    """The modules of tools/device."""
    before = set(sys.modules)
    for folder in (ROOT / 'tools' / 'benchmark', DEVICE):
        monkeypatch.syspath_prepend(folder)
    yield __import__
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], '__file__', '')).startswith(str(ROOT / 'tools')):
            del sys.modules[name]


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def processor_seconds() -> float:
    """Of all programs that were started here and have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def test_the_dry_run_does_every_step(tmp_path):
    """An arena among them, whose teacher and distilled student are trained for real."""
    pytest.importorskip('mmpretrain')
    pytest.importorskip('mmdet')
    command = [ROOT / 'tools' / 'device_run.sh', '--dry-run', '--minutes', '9', '--out', tmp_path]
    environment = dict(os.environ, PYTHON=sys.executable)
    before = processor_seconds()
    run = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=560)
    assert run.returncode == 0, run.stdout + run.stderr
    assert processor_seconds() - before < 120, 'two cores need more than a minute'
    about, *steps = lines(tmp_path / 'steps.jsonl')
    assert about['dry_run'] is True
    assert {step['step']: step['outcome'] for step in steps} == dict.fromkeys(('checks', 'speed', 'arena'), 'done')
    passed = {
        line['test'].partition('[')[0] for line in lines(tmp_path / 'checks.jsonl') if line['outcome'] == 'passed'
    }
    assert {'test_every_way_to_train', 'test_one_process_of_several', 'test_nms', 'test_roi_align'} <= passed
    phases = [line for line in lines(tmp_path / 'speed.jsonl') if 'phase' in line]
    assert [line['phase'] for line in phases] == ['layer1', 'layer2', 'layer3', 'layer4', 'head']
    ways = {'mmkd', 'frozen_dtype', 'graphs', 'graphs with the step', 'channels first', 'floor', 'run everything'}
    assert all(set(line['ms']) == ways and 'errors' not in line for line in phases)
    teacher, student = lines(tmp_path / 'cpu' / 'dry_run.jsonl')
    assert (teacher['state'], student['state']) == ('finished', 'finished')
    assert student['stages'][0].startswith('stage')
    assert (tmp_path / 'dry_run_teacher_s0.pth').is_file()


def test_the_speeds_become_a_page(run_tool, tmp_path):
    """Ways that failed are told; a phase whose floor failed has no ratio."""
    shared = dict(pair='a -> b', method='KD', size=16, batch=128, device='GPU X', versions='torch 9', commit='abc')
    times = dict(median=12.5, least=11.0, most=14.25, images_per_s=10240)
    measured = [
        dict(shared, phase='all', date='2026-01-02', mib=dict(mmkd=900), errors=dict(graphs='RuntimeError: no'))
        | dict(ms=dict(mmkd=times, floor=dict(times, median=10.0))),
        dict(shared, phase='head', size=[8, 6], mib={}, ms=dict(mmkd=times)),
        dict(shared, way='compiled', error='OutOfMemoryError: much'),
    ]
    (tmp_path / 'speed.jsonl').write_text('\n'.join(map(json.dumps, measured)))
    assert run_tool('device/tables.py', tmp_path / 'speed.jsonl', tmp_path / 'page.md') is None
    text = (tmp_path / 'page.md').read_text()
    assert '# Speed on GPU X\n\ntorch 9; commit abc; 2026-01-02.' in text
    assert '## a -> b, KD: all, 128 images of 16x16' in text
    assert '| mmkd | 12.5 (11-14.25) | 10,240 | 1.25 | 900 |' in text
    assert '\ngraphs: not measured, RuntimeError: no' in text
    assert '## a -> b, KD: head, 128 images of 8x6' in text
    assert '| mmkd | 12.5 (11-14.25) | 10,240 |  |  |' in text
    assert 'a -> b, KD (compiled): not measured, OutOfMemoryError: much' in text


@pytest.mark.parametrize(
    ('content', 'told'),
    [(None, 'does not exist; tools/device_run.sh speed'), ('', 'is empty'), ('{"pair', 'is no file of lines of JSON')],
)
def test_no_speeds_no_page(run_tool, tmp_path, content, told):
    if content is not None:
        (tmp_path / 'speed.jsonl').write_text(content)
    assert told in run_tool('device/tables.py', tmp_path / 'speed.jsonl', tmp_path / 'page.md')
    assert not (tmp_path / 'page.md').exists()


def test_a_step_that_fails_or_hangs_is_ended_with_all_that_it_started(device, tmp_path):
    ended = device('run').ended
    assert ended([sys.executable, '-c', 'raise SystemExit(3)'], tmp_path / 'log', 60) == 'failed with 3'
    child = 'import subprocess, time; print(subprocess.Popen(["sleep", "60"]).pid, flush=True); time.sleep(60)'
    assert ended([sys.executable, '-c', child], tmp_path / 'log', 5).startswith('cut')
    pid = int((tmp_path / 'log').read_text())
    for _ in range(100):
        state = Path(f'/proc/{pid}/stat')
        if not state.exists() or state.read_text().rpartition(')')[2].split()[0] == 'Z':
            break
        time.sleep(0.1)
    else:
        os.kill(pid, signal.SIGKILL)
        pytest.fail('what the step had started still runs')


ALONE = """
import os, sys, time
from pathlib import Path

here, seconds = Path(sys.argv[0]).parent, {seconds}
mine = here / f'{{os.getpid()}}.on'
mine.touch()
end = time.monotonic() + seconds
while (alone := len(list(here.glob('*.on'))) == 1) and time.monotonic() < end:
    time.sleep(0.05)
time.sleep(0.5)  # for the other one to see it
mine.unlink()
sys.exit(alone is not {expected})
"""


@pytest.mark.parametrize('dry', [True, False])
def test_only_the_steps_of_a_dry_run_run_side_by_side(device, tmp_path, monkeypatch, dry):
    run = device('run')
    (tmp_path / 'alone.py').write_text(ALONE.format(seconds=30 if dry else 0.5, expected=not dry))
    monkeypatch.setattr(run, 'PROGRAMS', dict.fromkeys(run.LIMITS, tmp_path / 'alone.py'))
    monkeypatch.setattr(run, 'check_gpu', lambda: None)
    monkeypatch.setattr(os, 'environ', os.environ.copy())
    monkeypatch.setattr(sys, 'argv', ['run.py', 'checks', 'speed', '--out', str(tmp_path), *['--dry-run'] * dry])
    run.main()
    assert [step['outcome'] for step in lines(tmp_path / 'steps.jsonl')[1:]] == ['done', 'done']


def test_images_are_carried_without_loss(run_tool, tmp_path, capsys):
    import numpy as np

    draw = np.random.default_rng(0)
    shapes = dict(train=(1203, 8, 6, 3), test=(7, 8, 6, 3))
    arrays = {f'{split}_x': draw.integers(256, size=shape, dtype=np.uint8) for split, shape in shapes.items()}
    labels = dict(train_y=np.arange(1203) % 5, test_y=np.arange(7) % 5, class_names=np.array(list('abcde')))
    whole, parts, again = tmp_path / 'whole.npz', [tmp_path / f'{i}.npz' for i in (0, 1)], tmp_path / 'again.npz'
    np.savez(whole, **arrays, **labels)
    for part, train, test in ((parts[0], ':600', '0:7'), (parts[1], '600:', '7:7')):
        assert run_tool('device/images.py', 'pack', whole, part, '--train', train, '--test', test) is None
    assert run_tool('device/images.py', 'unpack', again, *parts) is None
    with np.load(whole) as one, np.load(again) as two:
        assert set(one.files) == set(two.files)
        for key in one.files:
            np.testing.assert_array_equal(one[key], two[key])


@pytest.mark.parametrize(
    ('arguments', 'told'),
    [
        (['nothing'], 'error: nothing is no step; take some of: checks, speed, arena.'),
    ],
)
def test_mistakes_are_told(run_tool, tmp_path, arguments, told):
    assert run_tool('device/run.py', *arguments, '--out', tmp_path) == told


def test_without_a_gpu_it_says_so(run_tool, tmp_path, monkeypatch):
    monkeypatch.setattr('torch.cuda.is_available', lambda: False)
    monkeypatch.setattr('torch.version.cuda', None)
    assert 'is a build without CUDA' in run_tool('device/run.py', 'checks', '--out', tmp_path)

    def no_driver(*args, **kwargs):
        raise RuntimeError('The NVIDIA driver on your system is too old (found version 11040).\nUpdate it')

    monkeypatch.setattr('torch.version.cuda', '13.0')
    monkeypatch.setattr('torch.zeros', no_driver)
    said = run_tool('device/run.py', 'checks', '--out', tmp_path)
    assert said.startswith('error: torch ')
    assert 'is too old (found version 11040)); try the steps on the CPU with --dry-run.' in said
    assert not list(tmp_path.iterdir())
