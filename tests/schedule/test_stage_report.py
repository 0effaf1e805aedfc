import re

import pytest
import torch

from mmkd.schedule import stage_report
from mmkd.schedule.stage_report import StageReport


@pytest.fixture
def clock(monkeypatch):
    """The time in seconds, set by hand."""

    class Clock:
        now = 100.0

        def perf_counter(self):
            return self.now

    clock = Clock()
    monkeypatch.setattr(stage_report, 'time', clock)
    return clock


def learn(report, clock, losses, seconds=0.0, images=1):
    """The iterations of one stage, without pauses."""
    report.start()
    for loss in losses:
        clock.now += seconds
        report.see(torch.tensor(loss), images)
    report.stop()


def test_tells_what_a_stage_took_and_reached(clock):
    report = StageReport()
    report.begin('layer1')
    losses = [12.3101] + [9.0] * 1149 + [3.0, 3.80396] * 25
    learn(report, clock, losses, seconds=190 / 1200, images=130)
    assert report.end() == (
        'Stage layer1 ends: 1,200 iterations in 3 min 10 s, 821 images/s, loss 12.31 at the start, 3.402 at the end.'
    )


def test_the_loss_at_the_end_is_of_the_last_tenth(clock):
    report = StageReport()
    for losses, last in [([4.0, 2.0], '2'), ([9.0] * 17 + [5.0, 3.0, 1.0], '2'), ([9.0] * 29 + [7.0], '8.333')]:
        report.begin('layer1')
        learn(report, clock, losses, seconds=1)
        assert report.end().endswith(f', {last} at the end.')


def test_one_iteration(clock):
    report = StageReport()
    report.begin('head')
    learn(report, clock, [2.5], seconds=2, images=64)
    assert report.end() == (
        'Stage head ends: 1 iteration in 2.0 s, 32 images/s, loss 2.5 at the start, 2.5 at the end.'
    )


def test_only_the_time_between_start_and_stop_counts(clock):
    report = StageReport()
    report.begin('layer1')
    clock.now += 1000  # set-up
    report.start()
    clock.now += 3
    report.start()  # each iteration calls this
    report.see(torch.tensor(1.0), 60)
    clock.now += 1  # loading the next batch
    report.start()
    clock.now += 3
    report.see(torch.tensor(1.0), 60)
    report.stop()
    clock.now += 1000  # saving
    report.stop()
    clock.now += 1000  # validation
    report.start()
    clock.now += 5
    report.see(torch.tensor(1.0), 60)
    assert '3 iterations in 12 s, 15 images/s' in report.end()  # the end stops the clock as well
    clock.now += 1000
    assert report.summary().splitlines()[-1].split() == ['total', '3', '12', 's', '15']


def test_a_stage_begins_anew(clock):
    report = StageReport()
    for images in (10, 20):
        report.begin(f'layer{images}')
        learn(report, clock, [float(images)] * 2, seconds=1, images=images)
        assert report.end() == (
            f'Stage layer{images} ends: 2 iterations in 2.0 s, {images} images/s, '
            f'loss {images} at the start, {images} at the end.'
        )


def test_images_of_all_processes(clock, monkeypatch):
    monkeypatch.setattr(stage_report, 'get_world_size', lambda: 4)
    report = StageReport()
    report.begin('layer1')
    learn(report, clock, [1.0], seconds=2, images=64)
    assert ' 1 iteration in 2.0 s, 128 images/s,' in report.end()


def test_the_summary_has_a_line_for_each_stage_and_a_total(clock):
    report = StageReport()
    report.begin('layer1')
    learn(report, clock, [0.5] * 1200, seconds=0.125, images=128)
    report.see_validation({'mimic_loss': 3.0, 'r2_layer1': 0.8765})
    report.end()
    report.begin('layer2+head')
    learn(report, clock, [2.3, 0.041], seconds=1.5, images=16)
    report.end()
    assert report.summary().splitlines() == [
        'Summary of the stages:',
        '  stage        iterations        time  images/s  loss at the start  at the end    R2',
        '  layer1            1,200  2 min 30 s     1,024                0.5         0.5  0.88',
        '  layer2+head           2       3.0 s      10.7                2.3       0.041',
        '  total             1,202  2 min 33 s     1,004',
    ]


@pytest.mark.parametrize(
    ('r2', 'iterations', 'before', 'said'),
    [
        ({'r2_layer1': 0.91, 'r2_neck': 0.5}, 100, 0, None),
        (
            {'r2_layer1': 0.91, 'r2_neck': 0.49},
            1000,
            0,
            r'layer1\+neck has hardly learned: .* mimics, neck explains 0.49;',
        ),
        ({'r2_layer1': 0.91}, 99, 0, r'layer1\+neck had 99 iterations, fewer than 100'),
        ({'r2_layer1': 0.91}, 60, 40, None),  # before it was resumed
        ({}, 3, 0, None),  # this phase has no mimic loss
    ],
)
def test_a_stage_that_does_not_learn_is_told_with_a_cure(clock, r2, iterations, before, said):
    report = StageReport()
    report.begin('layer1+neck', before)
    learn(report, clock, [0.5] * iterations)
    report.see_validation({'mimic_loss': 3.0, **r2})
    report.end()
    if said is None:
        assert report.warnings == []
    else:
        (warning,) = report.warnings
        assert re.search(f'^Stage {said}.*default_hooks.stages.lengths.*mmkd.FeatureKD', warning)


@pytest.mark.parametrize(
    ('first', 'last', 'iterations', 'before', 'r2', 'told'),
    [
        (2.0, 2.21, 100, 0, 0.65, True),
        (2.0, 2.21, 100, 0, 0.12, True),  # a higher rate, the cure of a low R2, would make it worse
        (2.0, 2.19, 100, 0, 0.65, False),
        (2.0, 9.0, 99, 0, None, False),
        (2.0, 9.0, 100, 0, None, False),  # it learns from labels, and the weights of its terms may grow
        (2.0, 9.0, 100, 1, 0.65, False),  # what it began with was not seen
    ],
)
def test_a_stage_whose_loss_rises_is_told_with_a_cure(clock, first, last, iterations, before, r2, told):
    report = StageReport()
    report.begin('layer4', before)
    learn(report, clock, [0.1] * 25 + [first] * 25 + [last] * (iterations - 50))  # the fit knows hardly more at first
    report.see_validation({} if r2 is None else {'r2_layer4': r2})
    report.end()
    diverged = 'Stage layer4 diverged: its loss was 2 after 25 iterations and is 2.21 at the end.'
    assert [warning.startswith(diverged) for warning in report.warnings] == [True] * told
    assert all('optim_wrapper.clip_grad=dict(max_norm=5)' in warning for warning in report.warnings)


def test_a_resumed_stage_tells_only_what_it_saw_and_says_so(clock):
    report = StageReport()
    report.begin('layer2')  # when the checkpoint is loaded,
    report.begin('layer2', before=1500)  # and when its progress is known
    learn(report, clock, [3.0, 2.0], seconds=1, images=8)
    assert report.end() == (
        'Stage layer2 ends: 2 iterations in 2.0 s, 8 images/s, loss 3 at the start, 2 at the end; '
        'not counted: 1,500 iterations before it was resumed.'
    )
    report.begin('head')
    learn(report, clock, [1.0], seconds=1, images=8)
    assert 'resumed' not in report.end()
    *lines, last = report.summary().splitlines()
    assert [line.split()[0] for line in lines[2:]] == ['layer2', 'head', 'total']
    assert last == 'What came before the run was resumed, in layer2 1,500 iterations, is not in the table.'


def test_a_stage_resumed_at_its_very_end(clock):
    report = StageReport()
    report.begin('layer1', before=1)
    assert report.end() == ('Stage layer1 ends: nothing was left to do after the 1 iteration before it was resumed.')
    assert report.summary().splitlines()[2].split() == ['layer1', '0', '0.0', 's', '0']


@pytest.mark.parametrize(
    ('seconds', 'words'),
    [
        (0.04, '0.0 s'),
        (9.94, '9.9 s'),
        (9.96, '10 s'),
        (59.4, '59 s'),
        (59.7, '1 min 0 s'),
        (3599.4, '59 min 59 s'),
        (3599.7, '1 h 0 min'),
        (100 * 3600 + 125, '100 h 2 min'),
    ],
)
def test_durations(seconds, words, clock):
    report = StageReport()
    report.begin('layer1')
    learn(report, clock, [1.0], seconds)
    assert f' 1 iteration in {words}, ' in report.end()


def test_keeps_no_graph_and_asks_the_device_for_nothing(clock):
    loss = torch.ones((), device='meta', requires_grad=True)  # fails when its value is read
    report = StageReport()
    report.begin('layer1')
    for _ in range(200):
        report.start()
        report.see(loss * 2, 8)
    assert not any(kept.requires_grad for kept in (report.first, *report.losses))
    assert len(report.losses) == 50
    with pytest.raises(RuntimeError, match='meta'):
        report.end()
