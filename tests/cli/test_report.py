"""The report of work dirs written by hand, in a browser."""

import re

import pytest

from mmkd.cli.report import write_report
from mmkd.errors import UserError
from tests.browser import browser, needs_chromium
from tests.work_dirs import write_session


@pytest.fixture(scope='module')
def report(tmp_path_factory):
    """The student alone with two seeds, a run that has ended, and one that goes on."""
    folder = tmp_path_factory.mktemp('runs')
    runs = [
        write_session(folder / 'alone_s0', distilled=False, seed=0),
        write_session(folder / 'alone_s1', distilled=False, seed=1, score=52),
        write_session(folder / 'sskd<b>&', score=60),
        write_session(folder / 'going_on', weight=0, score=30, end=2),
    ]
    with (runs[3] / '20261128_100125' / 'vis_data' / 'scalars.json').open('a') as out:
        out.write('{"lr": 0.1, "lo')
    return write_report(runs, folder / 'out' / 'report.html', images=0)


def test_it_is_one_file_that_names_no_other(report):
    text = report.read_text()
    assert [path.name for path in report.parent.iterdir()] == ['report.html']
    assert re.findall(r'\b(?:src|href)="(?!#|data:)[^"]*"', text) == []
    assert '@import' not in text
    assert len(text) < 200_000
    assert 'sskd<b>' not in text


@needs_chromium
def test_it_opens_in_a_browser(report):
    with browser() as page:
        page.open(report.as_uri())
        assert page.value('document.title') == '3 trainings compared - mmkd report'
        sections = page.value('[...document.querySelectorAll("section h2")].map(e => e.textContent)')
        assert sections == [
            'Result',
            'What differs',
            'Curves',
            'Inside each run',
            'Stages of student and teacher',
            'Cost',
        ]
        cards = page.value('[...document.querySelectorAll(".card")].map(e => e.innerText.split("\\n"))')
        assert [card[0] for card in cards] == ['Teacher', 'alone', 'sskd<b>&', 'going_on']
        assert cards[2] == ['sskd<b>&', 'SSKD', '63', '+9 against alone']
        assert page.value('document.querySelectorAll("[data-chart] canvas").length') == 10
        assert page.value('[...document.querySelectorAll(".plan .box b")].map(e => e.textContent)')[:3] == [
            'layer1',
            'layer1',
            'neck',
        ]
        for width, scheme in ((1280, 'light'), (390, 'dark'), (390, 'light')):
            page.look(width, scheme)
            page.value('new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))')
            assert page.value('document.documentElement.scrollWidth') <= width
            assert page.value('Math.max(...[...document.querySelectorAll("canvas")].map(e => e.clientWidth))') < width
        assert page.requests == [report.as_uri()]
        assert page.said == []


def test_mistakes(tmp_path, monkeypatch):
    run = write_session(tmp_path / 'run')
    with pytest.raises(UserError, match=r'--out: report.txt must end with .html'):
        write_report([run], 'report.txt')
    (tmp_path / 'file').write_text('')
    with monkeypatch.context() as patch:
        patch.setattr('mmkd.cli.report.measured_sections', lambda *_: pytest.fail('the networks are measured first'))
        with pytest.raises(UserError, match=r'--out: .*file cannot be written \(.*\); name another file'):
            write_report([run], tmp_path / 'file' / 'report.html')
    with pytest.raises(UserError, match='different data'):
        write_report([run, write_session(tmp_path / 'other', data='data/others')], tmp_path / 'report.html')
    for names in (['one'], ['twice', 'twice']):
        with pytest.raises(UserError, match=r'--names: 2 names are needed, one for each work dir, no two of them'):
            write_report([run, write_session(tmp_path / names[0])], tmp_path / 'report.html', names=names)
    assert not (tmp_path / 'report.html').exists()


def test_names_of_the_runs(tmp_path):
    runs = [write_session(tmp_path / name, weight=weight) for name, weight in (('a-long_name', 1), ('another', 2))]
    text = write_report(runs, tmp_path / 'report.html', images=0, names=['KD & co', 'SSKD']).read_text()
    assert '<div class="name">KD &amp; co</div>' in text
    assert 'a-long' not in text


def test_warnings_with_the_same_advice_are_one(tmp_path):
    run = write_session(tmp_path / 'run')
    log = run / '20261128_100125' / '20261128_100125.log'
    said = '2026/11/28 10:01:21 - mmengine - WARNING - '
    said += 'Stage {} had {} iterations, fewer than 100. Give it longer. Or not.\n'
    log.write_text(
        log.read_text() + ''.join(said.format(name, count) for name, count in (('a', 12), ('b', 9), ('b', 9)))
    )
    text = write_report([run], tmp_path / 'report.html', images=0).read_text()
    assert (
        '<li>run: Stage a had 12 iterations, fewer than 100; Stage b had 9 iterations, fewer than 100. Give it longer. '
        'Or not.</li>'
    ) in text
    assert text.count('fewer than 100') == 2


def test_one_run_before_its_first_validation(tmp_path):
    run = write_session(tmp_path / 'run', end=1)
    file = run / '20261128_100125' / 'vis_data' / 'scalars.json'
    file.write_text(file.read_text().splitlines()[0])
    text = write_report([run, run], tmp_path / 'report.html', images=0).read_text()
    assert 'No validation has been logged yet.' in text
