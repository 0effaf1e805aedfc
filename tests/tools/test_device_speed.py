"""The speeds on a device: what is measured stays, what is not is named, and both stand on the page of benchmarks."""

from time import monotonic as now

import pytest

from tests.device_tools import device, lines, page_of  # noqa: F401  (fixtures)


def planned(device, tmp_path, plan, seconds: float = 60.0) -> tuple[list[dict], list[str]]:  # noqa: F811
    """What is written when a plan is measured, and what failed."""
    speed, surroundings = device('speed'), dict(device='CPU X', versions='torch 9', commit='abc', date='2026-01-02')
    tool = speed.Speed(speed.Lines(tmp_path / 'speed.jsonl', dict(surroundings, rounds=2)), 2, 0.0, seconds + now())
    tool.measure(plan)
    return lines(tmp_path / 'speed.jsonl'), tool.failed


@pytest.mark.parametrize(
    ('content', 'told'),
    [
        (None, 'does not exist; tools/device_run.sh speed'),
        ('', 'is empty'),
        ('{"pair', 'is no file of lines of JSON'),
        ('{"step": "checks", "device": "X"}', 'has lines of another kind'),
    ],
)
def test_no_speeds_no_page(device, page_of, tmp_path, content, told):  # noqa: F811
    if content is not None:
        (tmp_path / 'speed.jsonl').write_text(content)
    with pytest.raises(device('bench').UserError, match=f'^--add: .*{told}'):
        page_of(tmp_path / 'speed.jsonl')
    assert not (tmp_path / 'page.md').exists()


def test_what_is_not_begun_in_time_is_named(device, tmp_path, page_of):  # noqa: F811
    plan = device('speed_plan')
    rows, failed = planned(device, tmp_path, plan.PLAN, seconds=-1)
    assert [(row['part'], row['pair'], row['method']) for row in rows] == [
        (what.part, what.pair, what.method) for what in plan.PLAN
    ]
    assert all(row['errors'] == {'mmkd': 'not measured in time'} and not row['seconds'] for row in rows)
    assert failed == []
    text = page_of(tmp_path / 'speed.jsonl')
    assert '\n- ResNet-34 -> ResNet-18, MHKD; mmkd: not measured in time\n' in text
    assert '\n- resnet56 -> resnet20, SSKD, layer3; mmkd: not measured in time\n' in text


def test_a_phase_that_is_cut_off_is_named(device, tmp_path, monkeypatch):  # noqa: F811
    """The lines are there before, so that they stay when the whole step is killed."""
    speed, plan = device('speed'), device('speed_plan')

    def killed(phase, *_):
        if phase == 'layer2':
            raise SystemExit(143)
        return phase_speed(phase, *_)

    phase_speed = speed.PhaseSpeed
    monkeypatch.setattr(speed, 'PhaseSpeed', killed)
    with pytest.raises(SystemExit):
        planned(device, tmp_path, (plan.Iterations('digits', 'SSKD'), plan.Iterations('digits', 'KD')))
    page = device('benchmark_page')
    rows = page._merged([], lines(tmp_path / 'speed.jsonl'))
    assert [(row['phase'], bool(row['seconds'])) for row in rows] == [
        (None, False),  # KD
        *(('layer1', True), ('layer2', False), ('layer3', False), ('layer4', False), ('head', False)),
    ]
    assert page.not_measured(rows)[-2:] == [
        '- digits, KD; mmkd: not measured in time',
        '- digits, SSKD, layer2, layer3, layer4, head; mmkd: not measured in time',
    ]


def test_what_fails_is_named_and_stops_nothing_else(device, tmp_path, monkeypatch):  # noqa: F811
    speed, plan, phases = device('speed'), device('speed_plan'), device('phase_speed')

    def broken(*_, cuda_graph=False, **options):
        if cuda_graph:
            raise RuntimeError('no graph\nat all')
        return training(*_, **options)

    class Floor(phases.rivals_of('KD')['floor']):
        steps = 0

        def step(self):
            self.steps += 1
            if self.steps > 2:  # while it is timed
                raise ValueError('no floor')

    training, everything = speed.training, phases.rivals_of('KD')['run everything']
    monkeypatch.setattr(speed, 'training', broken)
    monkeypatch.setattr(phases, 'rivals_of', lambda method: {'floor': Floor, 'run everything': everything})
    monkeypatch.setattr(speed, 'measure_phases', None)
    rows, failed = planned(
        device, tmp_path, (plan.Compiled('digits', 'KD'), plan.Iterations('digits', 'KD', ('graphs', 'frozen_dtype')))
    )
    assert set(rows[-1]['seconds']) == {'mmkd', 'frozen_dtype', 'run everything'}
    assert rows[-1]['errors'] == dict(graphs='RuntimeError: no graph', floor='ValueError: no floor')
    assert rows[2]['part'] == 'compiled'
    assert rows[2]['errors'] == dict(mmkd="TypeError: 'NoneType' object is not callable")
    assert failed == ['digits, KD, all, mmkd', 'digits, KD, all, graphs', 'digits, KD, all, floor']


def test_torchdistill_is_measured_where_it_is_installed(device, tmp_path, monkeypatch):  # noqa: F811
    plan = (device('speed_plan').Iterations('digits', 'KD', torchdistill=True),)
    monkeypatch.setattr(device('phase_speed'), 'find_spec', lambda name: None)
    rows, failed = planned(device, tmp_path, plan)
    assert 'torchdistill' not in rows[-1]['seconds']
    assert rows[-1]['errors'] == {}
    worker = tmp_path / 'worker.py'
    worker.write_text("import sys\nprint('ready', flush=True)\nfor _ in sys.stdin: print('done', flush=True)\n")
    monkeypatch.setattr(device('phase_speed'), 'find_spec', lambda name: name)
    monkeypatch.setattr(device('torchdistill_process'), 'WORKER', worker)
    rows, failed = planned(device, tmp_path, plan)
    assert len(rows[-1]['seconds']['torchdistill']) == 2
    assert failed == []


def test_a_rival_that_ends_leaves_the_others_times(device, tmp_path, monkeypatch):  # noqa: F811
    worker = tmp_path / 'worker.py'
    worker.write_text("import sys\nprint('ready', flush=True)\nsys.stdin.readline()\nprint('done', flush=True)\n")
    monkeypatch.setattr(device('phase_speed'), 'find_spec', lambda name: name)
    monkeypatch.setattr(device('torchdistill_process'), 'WORKER', worker)
    rows, failed = planned(device, tmp_path, (device('speed_plan').Iterations('digits', 'KD', torchdistill=True),))
    assert set(rows[-1]['seconds']) == {'mmkd', 'floor', 'run everything', 'student alone'}
    assert list(rows[-1]['errors']) == ['torchdistill']
    assert failed == ['digits, KD, all, torchdistill']


def test_every_plan_names_pairs_and_ways_that_there_are(device):  # noqa: F811
    """The dry run takes every way that a CPU can take."""
    plan = device('speed_plan')
    ways = {way for what in plan.PLAN for way in getattr(what, 'ways', ())}
    assert ways == set(plan.WAYS)
    assert {way for what in plan.DRY_PLAN for way in getattr(what, 'ways', ())} == ways - {'bfloat16'}
    names = [(what.part, what.pair, what.method, what.phase) for what in plan.PLAN]
    assert len(names) == len(set(names))
    assert {what.pair for what in (*plan.PLAN, *plan.DRY_PLAN)} <= set(plan.ALL_PAIRS)
    assert any(getattr(what, 'torchdistill', False) for what in plan.PLAN)
