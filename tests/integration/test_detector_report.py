"""The report of detectors: AP by size and class, and photos with the boxes of all networks side by side."""

import copy

from mmengine.runner import Runner

from mmkd.cli.report import write_report
from tests.browser import browser, needs_chromium
from tests.distil_detectors import one_kind_quick


@needs_chromium
@one_kind_quick('RetinaNet')
def test_a_report_of_detectors(kind, plain, distil, tmp_path, monkeypatch):
    monkeypatch.setattr('mmkd.reporting.photos.SURE', 0.0)  # they have learned next to nothing
    cfg = copy.deepcopy(plain)
    cfg.model.test_cfg.score_thr = 0.0
    cfg.update(work_dir=str(tmp_path / 'alone'), experiment_name='alone')
    cfg.visualizer.name = 'alone'  # two runs in one process would log through the same one
    cfg.train_cfg.update(max_epochs=2, val_interval=1)
    Runner.from_cfg(cfg).train()
    changes = {'train_cfg.max_epochs': 2, 'train_cfg.val_interval': 1}
    changes |= {f'model.{its}.test_cfg.score_thr': 0.0 for its in ('student', 'teacher.config.model')}
    lengths = dict(stages=['neck', 'head'], lengths=[1, 1], score_teacher=True)
    distil(tmp_path / 'sskd', lengths, **changes).train()

    report = write_report([tmp_path / 'alone', tmp_path / 'sskd'], tmp_path / 'report.html', images=4)
    with browser() as page:
        page.open(report.as_uri())
        titles = page.value('[...document.querySelectorAll("section h2")].map(e => e.textContent)')
        assert titles[5:] == [
            'Similarity of student and teacher',
            'AP by size',
            'AP by class',
            'Predictions side by side',
            'Cost',
        ]
        rows = page.value('[...document.querySelectorAll("#by-size tbody th")].map(e => e.textContent)')
        assert rows == ['teacher', 'alone', 'sskd']
        assert page.value('document.querySelectorAll("#by-class tbody tr").length') > 3
        assert page.value('document.querySelectorAll("#photos svg").length') == 4 * 3
        assert page.value('document.querySelectorAll("#photos image").length') == 4  # each is in the file once
        assert page.value('document.querySelectorAll("#photos rect").length') > 0
        assert page.value('document.querySelectorAll("#similarity .heats").length') == 1
        assert page.requests == [report.as_uri()]
        assert page.said == []


def test_a_photo_that_is_gone_is_left_out():
    from mmkd.reporting.photos import _photo

    assert _photo('nowhere.png') == _photo(None) == ''
