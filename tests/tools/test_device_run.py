"""The steps for a GPU at a tiny size on the CPU; a failure stays within its step."""

import os
import re
import resource
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.device_tools import DEVICE, device, lines, page_of  # noqa: F401  (fixtures)


def processor_seconds() -> float:
    """Of all programs that were started here and have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@pytest.mark.first
def test_the_dry_run_does_every_step(tmp_path, page_of):  # noqa: F811
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
    measured = [line for line in lines(tmp_path / 'dry_run_speed.jsonl') if line['seconds']]
    stages, compiled = ('layer1', 'layer2', 'layer3', 'layer4', 'head'), ('compiled', 'SSKD', 'layer1')
    assert [tuple(line[key] for key in ('part', 'method', 'phase')) for line in measured] == [
        *(('iterations', 'SSKD', stage) for stage in stages),
        *(('iterations', 'KD', 'all'), compiled),
    ]
    rivals = {'mmkd', 'floor', 'run everything'}
    ways = {'frozen_dtype', 'graphs', 'graphs with the step', 'channels first'}
    assert all(set(line['seconds']) == set(line['bytes']) == rivals | ways for line in measured[:5])
    assert set(measured[5]['seconds']) - {'torchdistill'} == rivals | {'student alone'}
    assert set(measured[6]['seconds']) == {'mmkd', 'compiled'}
    assert not any(line.get('errors') for line in measured)
    page = page_of(tmp_path / 'dry_run_speed.jsonl')
    for row in ('SSKD, layer1', 'SSKD, head, graphs with the step', 'KD'):
        assert re.search(rf'\n\| {row}(?: \| [\d.,]+){{5}} \|\n', page)
    assert re.search(r'\n\| digits, SSKD \| layer1 \d\.\d\d \| ', page)
    assert 'Not measured' not in page
    teacher, student = lines(tmp_path / 'cpu' / 'dry_run.jsonl')
    assert (teacher['state'], student['state']) == ('finished', 'finished')
    assert student['stages'][0].startswith('stage')
    assert (tmp_path / 'dry_run_teacher_s0.pth').is_file()


def test_wheels_of_the_rival_travel_too(device, tmp_path):  # noqa: F811
    """With pip replaced by a program that keeps what it is asked for."""
    python = tmp_path / 'python'
    python.write_text(f'#!/bin/sh\necho "$@" >>{tmp_path}/asked\ntouch {tmp_path}/whl/a-none-any.whl\n')
    python.chmod(0o755)
    environment = dict(os.environ, PYTHON=str(python))
    subprocess.run([DEVICE / 'wheels.sh', tmp_path / 'whl'], env=environment, check=True, timeout=60)
    asked = (tmp_path / 'asked').read_text().split()
    assert {device('torchdistill_process').PACKAGE, 'onedl-mmcv==2.3.6'} <= set(asked)


def test_a_step_that_fails_or_hangs_is_ended_with_all_that_it_started(device, tmp_path):  # noqa: F811
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
def test_only_the_steps_of_a_dry_run_run_side_by_side(device, tmp_path, monkeypatch, dry):  # noqa: F811
    run = device('run')
    (tmp_path / 'alone.py').write_text(ALONE.format(seconds=30 if dry else 0.5, expected=not dry))
    monkeypatch.setattr(run, 'PROGRAMS', dict.fromkeys(run.LIMITS, tmp_path / 'alone.py'))
    monkeypatch.setattr(run, 'check_gpu', lambda: None)
    monkeypatch.setattr(os, 'environ', os.environ.copy())
    monkeypatch.setattr(sys, 'argv', ['run.py', 'checks', 'speed', '--out', str(tmp_path), *['--dry-run'] * dry])
    run.main()
    assert [step['outcome'] for step in lines(tmp_path / 'steps.jsonl')[1:]] == ['done', 'done']


def test_an_interrupt_ends_the_steps_that_run_side_by_side(device, tmp_path, monkeypatch):  # noqa: F811
    run = device('run')
    (tmp_path / 'sleeps.py').write_text('import time; time.sleep(300)')
    monkeypatch.setattr(run, 'PROGRAMS', dict.fromkeys(run.LIMITS, tmp_path / 'sleeps.py'))
    monkeypatch.setattr(os, 'environ', os.environ.copy())
    monkeypatch.setattr(sys, 'argv', ['run.py', 'checks', 'speed', '--out', str(tmp_path), '--dry-run'])
    add = run.Lines.add

    def interrupted(lines, **content):
        add(lines, **content)
        if 'steps' in content:  # the run begins
            threading.Timer(3, signal.pthread_kill, [threading.main_thread().ident, signal.SIGINT]).start()

    monkeypatch.setattr(run.Lines, 'add', interrupted)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # it is ignored where a shell runs the tests beside
    with pytest.raises(KeyboardInterrupt):
        run.main()
    assert not run.RUNNING
    assert [step['outcome'] for step in lines(tmp_path / 'steps.jsonl')[1:]] == ['failed with -15'] * 2


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
        (['--at-once', '0'], 'error: --at-once: it must be a whole number of trainings, 1 or more, not 0.'),
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
