"""Arenas: what is trained, skipped, resumed, recorded and printed, mostly with a stub in place of trainings."""

import fcntl
import json
import re
import shlex
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from mmkd.errors import UserError
from tests.conftest import ROOT
from tests.docs.commands import COMMANDS
from tests.tool_modules import tool_modules

GOOD = "sum(range(10**7)); print('Stage layer1 ends: well')"
WHERE = dict(device='CPU, 2 cores', versions='torch 1', commit='abc', date='2026-01-02')


@pytest.fixture
def lab(monkeypatch, tmp_path):
    """The tool's modules, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    names = ('arena', 'cifar', 'gains', 'glance', 'ours', 'outcome', 'page', 'picture', 'results', 'run', 'training')
    with tool_modules('benchmark', 'arenas'):
        yield type('Lab', (), {name: __import__(name) for name in names})


@pytest.fixture
def small(lab):
    """A teacher, the student alone with two seeds, and two students of the teacher."""
    row = lab.arena.Row
    rows = [
        row('teacher', 'Teacher', 'baselines/resnet18-w32_digits', {'train_cfg.max_epochs': 3}, (7,), None),
        row('alone', 'Student alone', 'baselines/resnet18-w16_digits', {'student.head.x': 4}, teacher=None),
        row('kd', 'KD', 'kd/kd_resnet18-w32_resnet18-w16_digits', {'student.init': '{teacher}', 'n': 2}),
        row('sskd', 'SSKD', 'sskd/sskd_resnet18-w32_resnet18-w16_digits', seeds=(5,)),
    ]
    return lab.arena.Arena('Small', 'A text.', [lab.arena.Table('Few', rows)], options={'a.b': 1}, name='small')


class Scripts:
    """Stands in for tools/train.py: writes a log like mmengine's, then runs the row's script."""

    def __init__(self, **scripts: str):
        self.scripts = scripts
        self.names: list[str] = []
        self.lock = threading.Lock()

    def __call__(self, training) -> list[str]:
        with self.lock:
            self.names.append(training.name)
        log = training.folder / 'now' / 'vis_data' / 'scalars.json'
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text('{"loss": 2.5, "step": 4}\n{"accuracy/top1": 70.0, "step": 1}\n{"loss": 1.5, "st')
        (training.folder / 'last_checkpoint').write_text(str(training.folder.absolute() / 'epoch_1.pth'))
        (training.folder / 'epoch_1.pth').touch()
        return [sys.executable, '-c', self.scripts.get(training.row.key, GOOD)]


def trainer(lab, scripts: Scripts, seconds: float = 60, where: dict = WHERE):
    results = lab.results.Results(Path('docs/cpu/small.jsonl'), where)
    return lab.training.Trainer(results, time.monotonic() + seconds, scripts)


def test_trainings_come_seed_by_seed_after_their_teacher(small):
    names = [training.name for training in small.trainings(['kd', 'sskd', 'alone'], [1, 0])]
    assert names == ['teacher_s7', 'kd_s0', 'sskd_s0', 'alone_s0', 'kd_s1', 'sskd_s1', 'alone_s1']
    assert [training.name for training in small.trainings(['sskd'])] == ['teacher_s7', 'sskd_s5']


def test_options_reach_the_student_and_know_the_teacher(small, lab):
    teacher, alone, student = small.trainings(['kd', 'alone'], [3])[0], *small.trainings(['alone', 'kd'], [3])[::2]
    assert alone.options() == {'a.b': 1, 'model.head.x': 4, 'randomness.seed': 3}
    Scripts()(teacher)
    assert student.options() == {
        'a.b': 1,
        'model.student.init': str(Path('work_dirs/arenas/small/teacher_s7/epoch_1.pth').absolute()),
        'n': 2,
        'randomness.seed': 3,
        'model.teacher.config': 'work_dirs/arenas/small/teacher_s7/resnet18-w32_digits.py',
        'model.teacher.checkpoint': str(Path('work_dirs/arenas/small/teacher_s7/epoch_1.pth').absolute()),
    }


def test_options_are_carried_into_a_folder_with_a_space(small, lab, tmp_path, monkeypatch):
    """mmengine takes the spaces out of what stands behind --cfg-options."""
    from mmengine.config import DictAction

    (tmp_path / 'my files').mkdir()
    monkeypatch.chdir(tmp_path / 'my files')
    data = f'{Path.cwd()}/data/images.npz'
    small = replace(small, options={'data': data, 'milestones': [28, 34], 'names': "['layer1','all']"})
    teacher, student = small.trainings(['kd'], [3])
    Scripts()(teacher)
    words = lab.training.command(student)
    options = dict(word.split('=', 1) for word in words[words.index('--cfg-options') + 1 :])
    parsed = {key: DictAction._parse_iterable(value) for key, value in options.items()}
    assert Path(parsed['model.teacher.checkpoint']).is_file()
    assert parsed['data'] == 'data/images.npz'
    assert (parsed['milestones'], parsed['names']) == ([28, 34], ['layer1', 'all'])


@pytest.mark.parametrize('at_once', [1, 3])
def test_a_finished_training_is_not_run_again(small, lab, at_once, capsys):
    scripts = Scripts()
    for _ in range(2):
        assert lab.run.run_side_by_side(small.trainings(), at_once, trainer(lab, scripts)) == []
    assert sorted(scripts.names) == ['alone_s0', 'alone_s1', 'kd_s0', 'kd_s1', 'sskd_s5', 'teacher_s7']
    assert scripts.names.index('teacher_s7') < min(scripts.names.index(name) for name in ('kd_s0', 'sskd_s5'))
    assert capsys.readouterr().out.count('is finished') == 6
    result = trainer(lab, scripts).results.read()['kd_s1']
    assert (result['last'], result['losses']['loss'], result['stages']) == (70.0, 2.5, ['Stage layer1 ends: well'])
    assert result['core_seconds'] > 0
    # results are committed, so they name no folder of a machine
    assert result['options']['model.teacher.checkpoint'] == 'work_dirs/arenas/small/teacher_s7/epoch_1.pth'
    assert {key: result[key] for key in WHERE} == WHERE
    assert (result['config'], result['seed']) == ('kd/kd_resnet18-w32_resnet18-w16_digits', 1)


def test_a_teacher_without_its_network_is_trained_again(small, lab):
    scripts = Scripts()
    lab.run.run_side_by_side(small.trainings(['kd'], [0]), 1, trainer(lab, scripts))
    small.trainings(['teacher'])[0].checkpoint.unlink()
    lab.run.run_side_by_side(small.trainings(['kd'], [0, 1]), 1, trainer(lab, scripts))
    assert scripts.names == ['teacher_s7', 'kd_s0', 'teacher_s7', 'kd_s1']


def test_a_teacher_that_is_trained_again_teaches_only_at_its_end(small, lab):
    """Its line is there from before, and checkpoints of the middle."""

    class Killed(Scripts):
        def __call__(self, training) -> list[str]:
            super().__call__(training)
            raise KeyboardInterrupt

    run = trainer(lab, Scripts())
    teacher, student = small.trainings(['kd'], [1])
    run(teacher)
    teacher.checkpoint.unlink()
    with pytest.raises(KeyboardInterrupt):
        trainer(lab, Killed())(teacher)
    assert run(student) == 'is not run: its teacher teacher_s7 is not finished'
    run(teacher)
    assert run(student).startswith('finished')


def test_what_goes_wrong_is_recorded_and_the_rest_goes_on(small, lab):
    scripts = Scripts(
        alone="raise SystemExit('error: The loss of stage all is NaN or infinite since iteration 3')",
        kd="raise SystemExit('no such thing')",
        sskd='import time; time.sleep(60)',
    )
    run = trainer(lab, scripts, seconds=8)
    failed = lab.run.run_side_by_side(small.trainings(seeds=[0]), 4, run)
    found = run.results.read()
    assert found['alone_s0']['state'] == 'diverged'
    assert found['kd_s0']['state'] == 'FAILED with 1: no such thing'
    assert found['sskd_s0']['state'] == 'cut'
    assert [line.split()[0] for line in failed] == ['kd_s0']
    run = trainer(lab, Scripts(), seconds=-1)
    assert run(small.trainings(['sskd'], [9])[-1]) == 'is not run: the time is up'


def test_an_interrupted_grid_goes_on_and_what_diverged_is_over(small, lab):
    """What was cut or failed is begun again; who diverged would diverge again."""
    bad = Scripts(
        alone="raise SystemExit('error: The loss of stage all is NaN or infinite since iteration 3')",
        kd='raise SystemExit(1)',
        sskd='import time; time.sleep(60)',
    )
    rows = ['alone', 'kd', 'sskd']
    lab.run.run_side_by_side(small.trainings(rows, [0]), 4, trainer(lab, bad, seconds=4))
    again = Scripts()
    run = trainer(lab, again)
    lab.run.run_side_by_side(small.trainings(rows, [0]), 1, run)
    assert sorted(again.names) == ['kd_s0', 'sskd_s0']
    said = run(small.trainings(['alone'], [0])[0])
    assert said == 'has diverged; without its line in docs/cpu/small.jsonl it is trained again'
    assert {name: result['state'] for name, result in run.results.read().items() if name[:2] != 'te'} == {
        'alone_s0': 'diverged',
        'kd_s0': 'finished',
        'sskd_s0': 'finished',
    }
    assert '--resume' in lab.training.command(small.trainings(['sskd'], [0])[-1])


# A shell's job in the background ignores Ctrl-C, and so would what the tests start there.
INTERRUPTED = 'import os, signal; signal.signal(2, signal.default_int_handler); os.kill(os.getpid(), 2)'


@pytest.mark.parametrize(
    'end',
    [
        INTERRUPTED,
        'import os; os.kill(os.getpid(), 15)',
        'raise SystemExit(130)',
        'raise SystemExit(143)',
        "print('KeyboardInterrupt'); raise SystemExit(1)",  # so it ends in the middle of its imports
    ],
)
def test_what_leaves_at_a_signal_is_cut(small, lab, end):
    run = trainer(lab, Scripts(alone=end))
    assert run(small.trainings(['alone'])[0]) == 'cut, accuracy/top1 70.0'
    assert run.results.read()['alone_s0']['state'] == 'cut'


@pytest.mark.parametrize('end', ['raise SystemExit(143)', 'raise SystemExit(1)'])
def test_a_result_stays_until_there_is_another(small, lab, end):
    """A teacher without its network is trained again; what is cut or fails then takes no result away."""
    teacher = small.trainings(['teacher'])[0]
    trainer(lab, Scripts())(teacher)
    teacher.checkpoint.unlink()
    run = trainer(lab, Scripts(teacher=end))
    assert run(teacher).startswith(('cut', 'FAILED'))
    assert run.results.read()['teacher_s7']['state'] == 'finished'
    again = Scripts()
    assert trainer(lab, again)(teacher).startswith('finished')
    assert again.names == ['teacher_s7']


def test_what_never_validated_has_no_result(small, lab):
    class Silent(Scripts):
        def __call__(self, training) -> list[str]:
            command = super().__call__(training)
            (training.folder / 'now' / 'vis_data' / 'scalars.json').write_text('{"loss": 2.5, "step": 4}\n')
            return command

    assert trainer(lab, Silent())(small.trainings(['alone'])[0]).startswith('FAILED: it was never validated')


@pytest.mark.parametrize('loss', ['NaN', 'Infinity'])
def test_a_baseline_without_a_finite_loss_has_diverged(small, lab, loss):
    """No schedule of stages stops it, so it ends and is validated like others."""

    class Diverging(Scripts):
        def __call__(self, training) -> list[str]:
            command = super().__call__(training)
            lines = ['{"loss": 2.5, "step": 4}', f'{{"loss": {loss}, "acc": 3.0, "step": 5}}']
            lines.append('{"accuracy/top1": 1.0, "step": 1}')
            (training.folder / 'now' / 'vis_data' / 'scalars.json').write_text('\n'.join(lines))
            return command

    run = trainer(lab, Diverging())
    assert run(small.trainings(['alone'])[0]).startswith('diverged')
    assert run.results.read()['alone_s0']['state'] == 'diverged'


def test_results_name_no_folder_of_the_machine(lab):
    of = lab.training.without_place
    assert (
        of('/there/it/was/work_dirs/arenas/bccd/teacher_s0/epoch_12.pth')
        == 'work_dirs/arenas/bccd/teacher_s0/epoch_12.pth'
    )
    assert of(f'{Path.cwd()}/data/x.npz') == 'data/x.npz'
    assert of("['layer1','all']") == "['layer1','all']"


def test_without_its_teacher_no_student_is_distilled(small, lab):
    scripts = Scripts(teacher='raise SystemExit(1)')
    lab.run.run_side_by_side(small.trainings(['kd'], [0]), 1, trainer(lab, scripts))
    assert scripts.names == ['teacher_s7']


def test_other_options_are_no_resume(small, lab):
    cut = trainer(lab, Scripts(alone='raise SystemExit(1)'))
    cut(small.trainings(['alone'])[0])
    other = replace(small, options={'a.b': 2, 'c': 3})
    said = trainer(lab, Scripts())(other.trainings(['alone'])[0])
    assert said.startswith('FAILED: it was begun with another a.b, c; remove work_dirs/arenas/small/alone_s0')


def test_costs_are_summed_and_unknown_after_a_kill(lab, tmp_path):
    first = lab.training.Costs(tmp_path)
    first.add(10, 4)
    second = lab.training.Costs(tmp_path)
    second.add(5, 2)
    assert second.total() == dict(seconds=15, core_seconds=6)
    lab.training.Costs(tmp_path)  # killed before it could record anything
    last = lab.training.Costs(tmp_path)
    last.add(1, 1)
    assert last.total() == dict(seconds=None, core_seconds=None)


def test_what_another_process_trains_is_left_alone(small, lab):
    training, scripts = small.trainings(['alone'])[0], Scripts()
    training.folder.mkdir(parents=True)
    with (training.folder / 'lock').open('w') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert 'another process' in trainer(lab, scripts)(training)
    assert scripts.names == []
    assert trainer(lab, scripts)(training).startswith('finished')


def test_mistakes_are_told(small, lab, tmp_path, run_tool):
    with pytest.raises(Exception, match='nothing is no row of small; it has teacher, alone, kd, sskd'):
        small.trainings(['nothing'])
    row = lab.arena.Row('kd', 'Another', 'x')
    twice = replace(small, tables=[*small.tables, lab.arena.Table('', [row])])
    with pytest.raises(Exception, match='two rows have the key kd'):
        twice.trainings()
    with pytest.raises(Exception, match='nowhere is no arena; there are bccd, cifar100_common'):
        lab.arena.read_arena('nowhere')
    (tmp_path / 'empty.py').touch()
    with pytest.raises(Exception, match='defines no ARENA'):
        lab.arena.read_arena(str(tmp_path / 'empty.py'))
    for number in ('0', '-1', 'two'):
        said = run_tool('arenas/run.py', 'digits', '--at-once', number)
        assert said == f'error: --at-once: it must be a whole number of trainings, 1 or more, not {number}.'
    said = run_tool('arenas/run.py', 'digits', '--out', 'empty.py/x')
    assert said == 'error: --out: empty.py/x cannot be written (Not a directory); name another folder.'
    said = run_tool('arenas/run.py', 'cifar100_short')
    assert said == (
        'error: data/cifar100.npz does not exist; get it with: python tools/dataset_converters/download_npz.py cifar100'
    )


def test_the_catalogue_names_configs_that_exist(lab):
    for name in lab.arena.arenas():
        trainings = lab.arena.read_arena(name).trainings()
        assert trainings
        assert all(training.config.is_file() for training in trainings)


def missing(lab, arena: str) -> tuple[str, list[list[str]]]:
    """The file that an arena misses, and the commands that get it."""
    with pytest.raises(UserError) as told:
        lab.arena.read_arena(arena).prepare()
    path, way = re.fullmatch(r'(\S+) does not exist; get it with: (.*)', str(told.value)).groups()
    return path, [shlex.split(command) for command in way.split(' && ')]


def make(path: str) -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).touch()


def test_missing_data_name_the_commands_that_get_them(lab):
    """They are those of the docs, and the last one makes what is missing."""
    documented = {command.words for command in COMMANDS}
    without = [name for name in lab.arena.arenas() if name != 'digits']  # whose images come with scikit-learn
    found = []
    for name in without:
        path, commands = missing(lab, name)
        found.append(path)
        assert {tuple(words) for words in commands} <= documented
        last = commands[-1][-1]
        assert path.startswith((last, f'data/{last}.npz'))
    assert len(set(found)) == 6


def test_images_and_weights_are_missed_apart(lab):
    for name, images, weights in (
        ('bccd', 'data/bccd320/train.json', 'data/mobilenet-v2_imagenet.pth'),
        ('coco_persons', 'data/coco_subset/annotations/person_train.json', 'data/mobilenet-v2_imagenet.pth'),
        ('cifar10_pretrained', 'data/cifar10.npz', 'data/mobilenet-v2_mmpretrain.pth'),
    ):
        assert missing(lab, name)[0] == images
        make(images)
        path, commands = missing(lab, name)
        assert path == weights
        assert [words[0] for words in commands] == ['curl', 'python']
        assert weights in commands[1]
        make(weights)
        lab.arena.read_arena(name).prepare()
        Path(weights).unlink()


def test_what_is_there_is_not_got_again(lab):
    def programs(name: str) -> list[str]:
        return [words[0] if words[0] != 'python' else Path(words[1]).name for words in missing(lab, name)[1]]

    assert programs('coco_persons') == ['curl', 'unzip', 'curl', 'unzip', 'coco_subset.py']
    Path('data/coco/val2017').mkdir(parents=True)
    assert programs('coco_persons') == ['curl', 'unzip', 'coco_subset.py']
    make('data/coco/annotations/instances_val2017.json')
    assert programs('coco_persons') == ['coco_subset.py']
    assert programs('cifar100_identities') == ['download_npz.py', 'identities.py']
    make('data/cifar100.npz')
    assert programs('cifar100_identities') == ['identities.py']
    assert programs('bccd') == ['git', 'bccd.py']
    Path('data/BCCD_Dataset').mkdir()
    Path('data/bccd320').mkdir()  # without what is needed: the command says what to do
    assert programs('bccd') == ['bccd.py']


def test_of_somebodys_own_data_only_the_place_is_told(lab):
    with pytest.raises(UserError, match=r'^data/mine/train\.txt does not exist\.$'):
        __import__('verification').arena('Mine', '', Path('data/mine'), [], [0]).prepare()


def line(key: str, seed: int, last: float | None, **more) -> dict:
    state = 'cut' if last is None else 'finished'
    return {**dict(name=f'{key}_s{seed}', state=state, seed=seed, last=last, core_seconds=90.0, **WHERE), **more}


def printed(lab, small, *lines: dict, machine: str = 'cpu') -> list[str]:
    found = {machine: {each['name']: each for each in lines}}
    text = lab.page.section(replace(small, factor=10.0), found, 'results')
    return [each.strip() for each in text.splitlines()]


def test_the_table_says_what_was_trained_where_and_what_not(small, lab):
    measured = dict(layer1='mimic_loss 2.5, r2_layer1 0.9', layer2='mimic_loss 1, r2_layer2 0.754')
    lines = printed(
        lab,
        small,
        line('teacher', 7, 7.0),
        line('alone', 0, 6.0),
        line('alone', 1, 6.2),
        line('kd', 0, 6.5, core_seconds=None, measured=measured),
        line('kd', 1, None, state='diverged', commit='b'),
    )
    assert 'The teacher has 70.0, the student alone 61.0: a lead of 9.0 points (± 1.0).' in lines
    assert '| Teacher | 7 | 70.0 | +9.0 |  |  | 90 | a |' in lines
    assert '| Student alone | 0, 1 | 61.0 (60.0 to 62.0) |  |  |  | 90 | a |' in lines
    assert '| KD | 0 | 65.0; seed 1 diverged | +4.0 |  | 0.90 0.75 | not measured | a |' in lines
    assert '| SSKD |  | not run |  |  |  |  |  |' in lines
    assert 'a: CPU, 2 cores, torch 1, commit abc, 2026-01-02.' in lines
    assert '### Few' in lines


def test_other_metrics_have_a_column(small, lab, tmp_path):
    """They are those of the validation that counts, also where the log was cut."""
    log = tmp_path / 'now' / 'vis_data' / 'scalars.json'
    log.parent.mkdir(parents=True)
    scores = [
        {'acc': 7.0, 'tar': 30.0, 'step': 1},
        {'acc': 6.0, 'tar': 40.44444, 'x': 1, 'step': 2},
        {'tar': 9.0, 'step': 3},
    ]
    log.write_text(''.join(json.dumps(each) + '\n' for each in scores) + '{"acc": 9')
    told = lab.outcome.outcome_of(tmp_path, 'acc', ['tar'])
    assert (told['last'], told['best'], told['step'], told['also']) == (6.0, 7.0, 2, {'tar': 40.4444})
    assert 'also' not in lab.outcome.outcome_of(tmp_path, 'acc')
    one, two = line('kd', 0, 6.5, also={'tar': 40.0}), line('kd', 1, 6.5, also={'tar': 42.0})
    lines = printed(lab, replace(small, also={'tar': 'TAR at FAR 0.1'}), one, two)
    assert (
        '|  | Seeds | Last epoch | Against alone | In as many core-seconds | TAR at FAR 0.1 | R2 of the stages '
        '| Core-seconds | Where |'
    ) in lines
    assert '| KD | 0, 1 | 65.0 (65.0 to 65.0) |  |  | 41.0 (40.0 to 42.0) |  | 90 | a |' in lines
    assert '| SSKD |  | not run |  |  |  |  |  |  |' in lines


def test_a_teacher_that_was_trained_again_stands_below_the_table(small, lab):
    """A figure that is printed alike is none of another teacher, and another metric is not compared."""
    small = replace(small, metric='a.b/top1', options={})
    score = 'a-b/top1 5.0, a.b/top1 {}, a.b/top5 9.0'.format
    lines = [
        line('alone', 0, 6.0),
        line('kd', 1, 6.5, teacher_score=score(6.75)),
        line('kd', 0, 6.5, teacher_score=score(6.75)),
        line('kd', 2, 6.5, teacher_score=score(7.004)),
        line('kd', 3, None, teacher_score=score(6.75)),
        line('kd', 4, 6.5, teacher_score='a.b/top5 6.75'),
        line('sskd', 5, 6.5, teacher_score=score(7.2)),
    ]
    told = (
        'The teacher was trained again on another machine and had 67.5 for KD (seeds 0, 1), and 72.0 for SSKD (seed 5).'
    )
    told_lines = printed(lab, small, line('teacher', 7, 7.0), *lines)
    assert told in told_lines
    assert 'The teacher has 67.5 to 72.0, the student alone 60.0: a lead of 7.5 to 12.0 points.' in told_lines
    for teachers in ([], [line('teacher', 7, None)]):  # without the recorded one there is nothing to compare with
        assert 'trained again' not in '\n'.join(printed(lab, small, *teachers, *lines))


@pytest.mark.parametrize(
    ('teacher', 'alone', 'said'),
    [
        (9.02, (8.71, 7.91, 8.29), 'a lead of 7.2 points (± 2.3).'),  # its seeds are 8.0 apart, their mean is surer
        (8.71, (8.71, 7.91, 8.29), 'a lead of 4.1 points (± 2.3). **The teacher is hardly ahead, so '),
        (6.3, (6.0, 6.4), 'a lead of 1.0 points (± 2.0). **The teacher is hardly ahead, so '),
        (6.09, (6.0, 6.0), 'a lead of 0.9 points (± 0.0). **The teacher is hardly ahead, so '),
        (6.5, (6.0,), 'a lead of 5.0 points.'),  # one seed tells no error
        (6.0, (6.0, 6.4), 'the student alone 62.0. **The teacher is not ahead, so these rows show little of'),
    ],
)
def test_a_teacher_that_is_not_ahead_stands_above_the_table(small, lab, teacher, alone, said):
    """Its lead counts against the error of the student's mean, not against the spread of seeds."""
    lines = printed(lab, small, line('teacher', 7, teacher), *(line('alone', i, each) for i, each in enumerate(alone)))
    (lead,) = (each for each in lines if each.startswith('The teacher has'))
    assert said in lead
    assert lead.endswith('distillation.**' if '**' in said else said)


def test_what_the_lead_lacks_stands_in_its_place(small, lab):
    no_alone = printed(lab, small, line('teacher', 7, 7.0), line('kd', 0, 6.5))
    assert "The teacher's lead is not known here: the student alone was not run." in no_alone
    no_teacher = printed(lab, small, line('alone', 0, 6.5))
    assert "The teacher's lead is not known here: the teacher was not run." in no_teacher


def test_the_student_alone_in_as_many_core_seconds(small, lab):
    """Methods have it, the cheapest seed tells the cost, and another table's lengths count, too."""
    table = small.tables[0]
    longer = [replace(table.rows[1], key=f'alone{n}', title=f'Alone, {n}') for n in (2, 3, 4)]
    tables = [
        replace(table, rows=[*table.rows, longer[0]]),
        replace(table, heading='Longer', rows=[table.rows[0], *longer]),
    ]
    small = replace(small, tables=tables)
    lines = printed(
        lab,
        small,
        line('teacher', 7, 9.0, core_seconds=10.0),
        line('alone', 0, 6.0, core_seconds=50.0),
        line('alone2', 0, 6.6, core_seconds=90.0),
        line('alone2', 1, 6.8, core_seconds=500.0),  # a slower machine
        line('alone3', 0, 6.1, core_seconds=130.0),
        line('alone4', 0, 9.9, core_seconds=None),
        line('kd', 0, 7.0, core_seconds=144.0),
        line('kd', 1, 7.0, core_seconds=400.0),
        line('sskd', 5, 6.5, core_seconds=145.0),
    )
    assert '| KD | 0, 1 | 70.0 (70.0 to 70.0) | +10.0 | +3.0 |  | 272 | a |' in lines
    assert '| SSKD | 5 | 65.0 | +5.0 | -2.0 (0.6 times) |  | 145 | a |' in lines
    assert '| Alone, 2 | 0, 1 | 67.0 (66.0 to 68.0) | +7.0 |  |  | 295 | a |' in lines
    lines = printed(lab, small, line('alone', 0, 6.0, core_seconds=50.0), line('sskd', 5, 6.5, core_seconds=55.0))
    assert '| SSKD | 5 | 65.0 | +5.0 | +5.0 |  | 55 | a |' in lines


def test_what_is_missing_stands_below_the_tables(small, lab):
    found = [line('teacher', 7, 7.0), line('alone', 0, None, state='diverged'), line('kd', 1, None, state='cut')]
    text = ' '.join(printed(lab, small, *found))
    assert (
        'Not run yet: 4 of 6 trainings (rows and their seeds: `kd` 0, 1; `alone` 1; `sskd` 5). '
        '`make results ARENA=small` goes on with them.'
    ) in text
    none = ' '.join(printed(lab, small, line('other', 0, 7.0)))
    assert 'None of 6 trainings was run yet; `make results ARENA=small` begins.' in none
    found = [line(training.row.key, training.seed, 7.0) for training in small.trainings()]
    assert 'All 6 trainings were run, by `make results ARENA=small`.' in ' '.join(printed(lab, small, *found))


def test_each_machine_has_its_table(small, lab):
    found = dict(
        cpu={'alone_s0': line('alone', 0, 6.0)},
        gpu={
            'kd_s0': line('kd', 0, 7.0, device='GPU X', seconds=3.2),
            'alone_s0': line('alone', 0, 6.5, device='GPU X'),
        },
    )
    lines = lab.page.section(small, found, 'results').splitlines()
    assert [each for each in lines if each.startswith('###')] == [
        '### Few, trained on a CPU',
        '### Few, trained on one GPU X',
    ]
    gpu = lines[lines.index('### Few, trained on one GPU X') :]
    assert '| KD | 0 | 7.0 | +0.5 |  | 3 | a |' in gpu
    assert not any(each.startswith('| SSKD') for each in gpu)  # rows that were not run are listed once


def test_a_machine_without_the_student_alone_has_no_table_beside_another(small, lab):
    found = dict(cpu={'alone_s0': line('alone', 0, 6.0)}, gpu={'kd_s0': line('kd', 0, 7.0, device='GPU X')})
    assert 'GPU X' not in lab.page.section(small, found, 'results')
    found['cpu'] = {}
    assert '| KD | 0 | 7.0 |' in lab.page.section(small, found, 'results')


def test_a_text_has_the_figures_of_rows(lab, tmp_path):
    for machine, scores in dict(cpu=(0.36, 0.38), gpu=(0.41, 0.43)).items():
        (tmp_path / machine).mkdir()
        lines = [json.dumps(line('kd', seed, score)) for seed, score in enumerate(scores)]
        (tmp_path / machine / 'bccd.jsonl').write_text('\n'.join([*lines, json.dumps(line('mhkd', 0, None))]))
    text = 'KD {bccd/kd}, H100 {gpu:bccd/kd}; {bccd/mhkd}, {gpu:digits/short-beta0.1}; {this}'
    said = lab.page.with_figures(text, tmp_path)
    assert said == 'KD 37.0 (36.0 to 38.0), H100 42.0 (41.0 to 43.0); not run, not run; {this}'
    with pytest.raises(UserError, match='nothing is no row of bccd'):
        lab.page.with_figures('{bccd/nothing}', tmp_path)


def test_the_pages_are_what_the_lines_say(lab, tmp_path):
    """The pages match the results: nobody has edited them, and every line of results has its row."""
    (tmp_path / 'docs').mkdir()
    lab.page.write_pages(ROOT / 'docs' / 'arenas', tmp_path / 'docs')
    for page in ('results', 'levers', 'ablations'):
        assert (tmp_path / 'docs' / f'{page}.md').read_text() == (ROOT / 'docs' / f'{page}.md').read_text()
    gains = lab.gains.gains_of(ROOT / 'docs' / 'arenas')
    lab.picture.write_picture(gains, tmp_path / 'docs' / 'gains.svg')
    assert (tmp_path / 'docs' / 'gains.svg').read_text() == (ROOT / 'docs' / 'pictures' / 'gains.svg').read_text()
    readme = tmp_path / 'README.md'
    readme.write_text((ROOT / 'README.md').read_text())
    lab.gains.write_table(gains, readme)
    assert readme.read_text() == (ROOT / 'README.md').read_text()
    choose = tmp_path / 'choose.md'
    choose.write_text((ROOT / 'docs' / 'choose.md').read_text())
    lab.glance.write_glance(ROOT / 'docs' / 'arenas', choose)
    assert choose.read_text() == (ROOT / 'docs' / 'choose.md').read_text()
    methods = tmp_path / 'methods.md'
    methods.write_text((ROOT / 'docs' / 'methods.md').read_text())
    lab.ours.write_column(ROOT / 'docs' / 'arenas', methods)
    assert methods.read_text() == (ROOT / 'docs' / 'methods.md').read_text()
    for name in lab.arena.arenas():
        arena = lab.arena.read_arena(name)
        for results in lab.page.results_of(arena, ROOT / 'docs' / 'arenas').values():
            assert {key.rpartition('_s')[0] for key in results} <= set(arena.rows)


def test_the_picture_and_the_table_have_what_was_trained(lab, tmp_path):
    scores = dict(teacher=0.42, alone24=0.36, alone=0.34, kd=0.365, sskd=0.39)
    lines = [json.dumps(line(key, 0, score)) for key, score in scores.items()]
    lines += [json.dumps(line('sskd', 1, 0.41)), json.dumps(line('featurekd', 0, 0.4, state='cut'))]
    (tmp_path / 'cpu').mkdir()
    (tmp_path / 'cpu' / 'bccd.jsonl').write_text('\n'.join(lines))
    blood = lab.gains.gains_of(tmp_path)[0]
    lab.picture.write_picture([blood], tmp_path / 'gains.svg')
    picture = ElementTree.parse(tmp_path / 'gains.svg').getroot()
    bars = [float(each.get('width')) for each in picture.iter('{http://www.w3.org/2000/svg}rect')]
    texts = [each.text for each in picture.iter('{http://www.w3.org/2000/svg}text')]
    assert [text for text in texts if text.replace('.', '').isdigit()] == ['36.0', '36.5', '40.0']
    assert 'box AP; teacher 42.0 (dashed)' in texts
    # the room of 150 is what lies between a quarter of the lead below the student alone and the teacher
    assert bars == pytest.approx([150 * part / 7.5 for part in (1.5, 2.0, 5.5)], abs=0.1)

    page = tmp_path / 'README.md'
    page.write_text(f'Before.\n\n{lab.gains.BEGIN}\nold\n{lab.gains.END}\n\nBehind.\n')
    lab.gains.write_table([blood], page)
    text = page.read_text()
    assert text.startswith('Before.\n')
    assert text.endswith('\nBehind.\n')
    assert text.splitlines()[3:-3] == [
        '| | Blood cells, box AP |',
        '|---|---|',
        '| Teacher | 42.0 |',
        '| Student alone | 36.0 |',
        '| KD | 36.5 |',
        '| MHKD | not run |',
        '| FeatureKD | not run |',
        '| SSKD | 40.0 (39.0 to 41.0) |',
        '| SSKD, no labels | not run |',
    ]


def test_all_arenas_at_a_glance(lab, tmp_path):
    """Each table against its own student alone; a table whose methods an earlier one has is left out."""
    lines = [
        line('teacher', 0, 0.42),
        *(line('alone24', seed, score) for seed, score in enumerate((0.35, 0.37))),
        line('alone', 0, 0.39),  # as long as the methods: no other length
        line('alone72', 0, 0.33),
        line('kd', 0, 0.355),
        *(
            line('sskd', seed, score, teacher_score='coco/bbox_mAP 0.41')
            for seed, score in enumerate((0.38, 0.4, 0.39))
        ),
        line('featurekd', 0, 0.4, state='cut'),
        line('alone-pre', 0, 0.4),
        line('alone24-pre', 0, 0.405),
        line('sskd-pre', 0, 0.41),
    ]
    (tmp_path / 'cpu').mkdir()
    (tmp_path / 'cpu' / 'bccd.jsonl').write_text('\n'.join(map(json.dumps, lines)))
    scores = dict(teacher=70.0, alone=60.0, mhkd=59.0, nst=66.0, alone50=42.0, kd50=67.0)
    scores.update({'featurekd-soft50': 66.0, 'sskd50': 62.0, 'less-soft50': 64.0, 'soft50': 65.0})
    short = [line(key, 0, score) for key, score in scores.items()]
    (tmp_path / 'cpu' / 'cifar100_short.jsonl').write_text('\n'.join(map(json.dumps, short)))
    page = tmp_path / 'choose.md'
    page.write_text(f'Before.\n\n{lab.glance.BEGIN}\nold\n{lab.glance.END}\n\nBehind.\n')
    lab.glance.write_glance(tmp_path, page)
    said = page.read_text().splitlines()
    assert said[:2] + said[-3:] == ['Before.', '', lab.glance.END, '', 'Behind.']
    rows = [[cell.strip() for cell in each.split('|')[1:-1]] for each in said[3:-3]]
    assert rows[0] == ['Arena', "Teacher's lead", 'KD', 'MHKD', 'FeatureKD', 'SSKD', 'Student alone, longer']
    bccd = '[BCCD](results.md#bccd-a-gfl-on-a-pretrained-mobilenetv2-teaches-a-narrow-gfl)'
    few = '[CIFAR-100 short](results.md#cifar-100-short-resnet56-teaches-resnet20)'
    longer = '-3.0 (1), 72 epochs', '+0.5 (1), 24 epochs'
    assert rows[2:] == [
        [f'{bccd}: a student from scratch', '5.0', '-0.5 (1)', '', '', '+3.0 (3)', longer[0]],
        [f'{bccd}: a student that is pretrained too, 12 epochs', '2.0', '', '', '', '+1.0 (1)', longer[1]],
        [f'{few}: all labels (500 a class)', '10.0', '', '-1.0 (1)', '', '', ''],
        [
            f'{few}: 50 labels a class, the other images without',
            *('28.0', '+25.0 (1)', '', 'soft +24.0 (1)', '+20.0 (1); soft 0.3 +22.0 (1); soft 1.0 +23.0 (1)', ''),
        ],
    ]


METHODS = """Before.

| Method | Cost | Config | Public | Ours |
|---|---|---|---|---|
| AT | 2 | [at_a_b_cifar100](../configs/feature_kd/at_a_b_cifar100.py) | 73.44 (RD) | old |
| CC | 2 | [cc_a_b_cifar100](../configs/feature_kd/cc_a_b_cifar100.py) | none known |  |
| SP | 2 | [sp_a_b_cifar100](../configs/feature_kd/sp_a_b_cifar100.py) | 72.94 (RD) | 99.9 |
| New | 2 | [new_a_b_cifar100](../configs/feature_kd/new_a_b_cifar100.py) | 1 | 2 |

| Method | Config | Ours |
|---|---|---|
| GIoU | [cross-kd_retinanet_a_coco](../configs/feature_kd/cross-kd_retinanet_a_coco.py) | x |

| Other | Ours |
|---|---|
| Behind | stays |
"""


def test_all_methods_say_what_their_trainings_reached(lab, tmp_path):
    short = [line('teacher', 0, 70.0), line('alone', 0, 60.0), line('alone', 1, 61.0)]
    short += [line('at', 0, 63.0), line('at', 1, 63.6), line('cc', 0, 60.0), line('cc', 1, None, state='diverged')]
    blood = [
        line('alone24', 0, 0.37),
        line('alone', 0, 0.3),
        line('cross-kd-giou', 0, 0.36),
    ]
    (tmp_path / 'cpu').mkdir()
    for name, lines in dict(cifar100_short=short, bccd=blood).items():
        (tmp_path / 'cpu' / f'{name}.jsonl').write_text('\n'.join(map(json.dumps, lines)))
    page = tmp_path / 'methods.md'
    page.write_text(METHODS)
    lab.ours.write_column(tmp_path, page)
    cells = [[cell.strip() for cell in each.split('|')] for each in page.read_text().splitlines()]
    last = {row[1]: row[-2] for row in cells if len(row) > 1}
    head = next(row[-2] for row in cells if len(row) > 1)
    assert head.startswith('Ours, [CIFAR-100 short](results.md#cifar-100-short-')
    assert head.endswith('; alone 60.5 (60.0 to 61.0); teacher 70.0')
    assert last['AT'] == '63.3 (63.0 to 63.6), +2.8, seeds 0, 1'
    assert last['CC'] == '60.0; seed 1 diverged, -0.5, seed 0'
    assert last['SP'] == 'not run'
    assert last['New'] == 'has no row there'
    assert last['GIoU'] == '36.0, -1.0, seed 0'
    assert last['Method'].endswith('; alone 37.0')  # of blood cells the student's best length
    assert last['Behind'] == 'stays'
    assert [row[-3] for row in cells[4:7]] == ['73.44 (RD)', 'none known', '72.94 (RD)']
    before = page.read_text()
    lab.ours.write_column(tmp_path, page)
    assert page.read_text() == before
    (tmp_path / 'cpu' / 'bccd.jsonl').unlink()
    lab.ours.write_column(tmp_path, page)
    assert '/cross-kd_retinanet_a_coco.py) | not run |' in page.read_text()


def test_lines_survive_a_second_writer_and_the_last_one_counts(lab, tmp_path):
    results = lab.results.Results(tmp_path / 'a.jsonl', dict(device='x'))
    for last, state in ((0, 'cut'), (1, 'finished'), (2, 'finished'), (4, 'cut'), (5, 'FAILED with 1: x')):
        results.add(name='kd_s0', last=last, state=state)
    results.add(name='kd_s1', last=3, state='cut')
    results.add(name='kd_s2', last=6, state='finished')
    results.add(name='kd_s2', last=7, state='diverged')
    assert {name: row['last'] for name, row in results.read().items()} == dict(kd_s0=2, kd_s1=3, kd_s2=7)
    file_of = lab.results.file_of
    assert file_of(tmp_path, 'CPU, 2 cores', 'a') == tmp_path / 'cpu' / 'a.jsonl'
    assert file_of(tmp_path, 'NVIDIA H100 80GB', 'a') == tmp_path / 'nvidia-h100-80gb' / 'a.jsonl'


def test_smaller_images(lab):
    images = np.arange(4 * 4 * 4 * 3, dtype=np.uint8).reshape(4, 4, 4, 3)
    arrays = dict(train_x=images, train_y=np.array([0, 2, 1, 0]), test_x=images[:1], test_y=np.array([1]))
    reduced = lab.cifar.reduce(arrays, classes=2, side=2)
    assert reduced['train_y'].tolist() == [0, 1, 0]
    assert reduced['train_x'].shape == (3, 2, 2, 3)
    assert reduced['train_x'].dtype == np.uint8
    assert reduced['train_x'][1, 0, 1, 2] == round(images[2, :2, 2:, 2].mean())
