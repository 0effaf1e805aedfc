"""The report of real trainings of classifiers, measured with their checkpoints."""

import copy
import shutil
from pathlib import Path

import pytest
from mmengine.runner import Runner

from mmkd.cli.report import write_report
from mmkd.errors import UserError
from mmkd.reporting.run import read_run
from mmkd.reporting.stage_similarity import stage_similarity
from tests.browser import browser, needs_chromium
from tests.distil import HEADS, distillation, in_place

EPOCHS = 3


@pytest.fixture(scope='module')
def runs(plain, teacher, tmp_path_factory):
    """The student alone, by SSKD in two stages, and by MHKD."""
    folder = tmp_path_factory.mktemp('runs')
    short = copy.deepcopy(plain)
    short.train_cfg.max_epochs = EPOCHS
    methods = [
        in_place(copy.deepcopy(short), folder / 'alone'),
        distillation(short, teacher, folder / 'sskd', dict(stages=['layer3', 'all'], lengths=[1, 2])),
        distillation(short, teacher, folder / 'mhkd', dict(unfreeze_last=None), dict(type='mmkd.MHKD', heads=HEADS)),
    ]
    for cfg in methods:
        Runner.from_cfg(cfg).train()
    return [cfg.work_dir for cfg in methods]


@pytest.fixture(scope='module')
def report(runs):
    return write_report(runs, Path(runs[0]).parent / 'report.html', images=24)


def test_the_log_of_a_real_run_is_understood(runs):
    """Its sentences are read, so whoever changes them finds out here."""
    alone, sskd, mhkd = map(read_run, runs)
    assert (alone.method, alone.is_done, alone.log.plan) == ('alone', True, [])
    assert (sskd.method, sskd.is_done, mhkd.is_done) == ('SSKD', True, True)
    assert sskd.phases == [('layer3', 0, 4), ('all', 4, 12)]
    assert [stage.name for stage in sskd.log.plan] == ['layer1', 'layer2', 'layer3', 'layer4', 'head']
    third = sskd.log.plan[2]
    assert (third.teacher_end, third.shapes, third.teacher_shapes) == (
        'backbone.layer3',
        '32x4x4',
        '48x4x4',
    )
    assert [(stage.name, stage.iterations) for stage in sskd.log.ended] == [('layer3', 4), ('all', 8)]
    assert sskd.log.ended[0].r2
    assert sskd.log.teacher_score.keys() >= {'accuracy/top1'}
    assert sskd.log.remarks  # too short to have learned
    assert [name for name, _, _ in mhkd.log.heads] == ['layer1', 'layer2', 'layer3']
    assert 'student_heads/layer3' in mhkd.measures[-1]
    assert len(sskd.validation) < len(alone.validation) == EPOCHS


@needs_chromium
def test_what_is_measured_is_in_it(report):
    with browser() as page:
        page.open(report.as_uri())
        titles = page.value('[...document.querySelectorAll("section h2")].map(e => e.textContent)')
        assert titles[5:] == ['Heads by depth', 'Similarity of student and teacher', 'Accuracy by class', 'Cost']
        maps = page.value('[...document.querySelectorAll("#similarity .heats table")].map(e => e.rows.length)')
        assert maps == [5, 5, 5] * 2  # four stages
        cells = page.value('[...document.querySelectorAll("#similarity .heat td")].map(e => +e.textContent)')
        assert len(cells) == 2 * (16 + 16 + 8)
        assert all(-1 <= cell <= 1.01 for cell in cells)
        assert max(cells) > 0.5
        depths = page.value('[...document.querySelectorAll("#heads tbody th")].map(e => e.textContent)')
        assert depths == ['layer1', 'layer2', 'layer3', 'own head']
        head = page.value('[...document.querySelectorAll("#by-class thead th")].map(e => e.textContent)')
        assert head == ['class', 'images', 'teacher', 'alone', 'sskd against alone', 'mhkd against alone']
        column = 'document.querySelectorAll("#by-class td:nth-child(2)")'
        counts = page.value(f'[...{column}].map(e => +e.textContent)')
        assert sum(counts) == 24
        page.look(390, 'dark')
        page.value('new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))')
        assert page.value('document.documentElement.scrollWidth') <= 390
        assert page.requests == [report.as_uri()]
        assert page.said == []


def test_what_cannot_be_measured_is_said_in_a_sentence(runs, tmp_path, capsys):
    folder = tmp_path / 'sskd'
    shutil.copytree(runs[1], folder)
    for file in folder.glob('*.pth'):
        file.unlink()
    text = write_report([folder], tmp_path / 'report.html', images=8).read_text()
    assert f'Not measured: {folder} holds no checkpoint.' in text
    assert 'holds no checkpoint' in capsys.readouterr().out
    assert 'Not measured' not in write_report([folder], tmp_path / 'report.html', images=0).read_text()


def test_a_notebook_gets_the_numbers_of_the_report(runs, report):
    found = stage_similarity(runs[1], images=24)
    assert found.stages == ['layer1', 'layer2', 'layer3', 'layer4']
    cells = [f'{value:.2f}</td>' for kind in found.cka.values() for row in kind for value in row]
    cells += [f'{value:.2f}</td>' for kind in found.cosine.values() for value in kind]
    text = report.read_text()
    assert len(cells) == 40
    assert [cell for cell in cells if cell not in text] == []
    with pytest.raises(UserError, match='it is no distillation'):
        stage_similarity(runs[0])
