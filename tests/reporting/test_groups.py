import pytest

from mmkd.errors import UserError
from mmkd.reporting import curves, facts, figures
from mmkd.reporting.groups import check_same_data, group_runs, name_apart
from mmkd.reporting.run import read_run
from tests.work_dirs import write_session


@pytest.fixture
def runs(tmp_path):
    """A student alone with two seeds, and two ways to distil it."""
    return [
        read_run(write_session(tmp_path / 'alone_s0', distilled=False, seed=0, score=40)),
        read_run(write_session(tmp_path / 'alone_s1', distilled=False, seed=1, score=43)),
        read_run(write_session(tmp_path / 'sskd', score=60)),
        read_run(write_session(tmp_path / 'sskd_w0', weight=0, score=30, end=2)),
    ]


def test_runs_that_differ_in_the_seed_only_are_one_group(runs):
    groups = group_runs(runs)
    assert [(group.name, len(group.runs)) for group in groups] == [('alone', 2), ('sskd', 1), ('sskd_w0', 1)]


def test_figures_spread_over_seeds_and_gains_over_the_student_alone(runs):
    groups = group_runs(runs)
    assert str(figures.last(groups[0], 'accuracy/top1')) == '44.5 (43 to 46)'
    cards = figures.cards(groups)
    assert '+18.5 against alone' in cards
    assert '<span class="loss">-13.5 against alone</span>' in cards
    table = figures.figures_table(groups)
    assert 'student alone, 2 seeds' in table
    assert 'at epoch 2 of 4' in table
    assert '69.55' in table  # the teacher's


def test_settings_side_by_side(runs):
    shown = facts.settings(group_runs(runs)).replace('<wbr>', '')
    assert 'model.type' in shown
    assert 'model.weight' in shown
    assert 'model.teacher.config' not in shown  # the same wherever there is a teacher
    assert 'randomness.seed' not in shown
    assert 'work_dir' not in shown


def test_costs(runs):
    shown = facts.costs(group_runs(runs))
    assert shown.count('>0.25<') == 4
    assert shown.count('>64<') == 4  # images/s: 8 on each of 2 GPUs
    assert '>10 s<' in shown
    assert '>67,428<' in shown
    assert facts.duration(7384) == '2 h 3 min'


def test_a_curve_of_several_seeds_is_their_mean_between_the_edges(runs):
    groups = group_runs(runs)
    metric, loss, rate = curves.shared_curves(groups)
    assert (metric['id'], loss['id'], rate['title'], metric['x']) == ('accuracy/top1', 'loss', 'learning rate', 'epoch')
    alone, sskd, half = metric['series']
    assert (alone['x'], alone['y'], alone['low'], alone['high']) == (
        [1, 2, 3, 4],
        [41.5, 42.5, 43.5, 44.5],
        [40, 41, 42, 43],
        [43, 44, 45, 46],
    )
    assert 'low' not in sskd
    assert half['x'] == [1, 2]
    assert metric['line'] == ['teacher', 69.55]
    assert [marker for marker in metric['markers'] if marker[2] == 1] == [['layer1+neck', 1, 1], ['all', 2, 1]]


def test_curves_of_one_run_lie_on_its_stages(runs):
    terms, mimic, r2 = curves.own_curves(runs[2], in_epochs=True)
    assert terms['stages'] == [['layer1', 0, 1], ['layer1+neck', 1, 2], ['all', 2, 4]]
    assert [one['label'] for one in terms['series']] == ['mimic_layer1', 'own']
    assert mimic['title'] == 'mimic loss on the validation set'
    assert (r2['series'][0]['label'], r2['series'][0]['y']) == ('layer1', [0.125, 0.25, 0.375, 0.5])
    (metric, _, _) = curves.shared_curves(group_runs(runs[2:3]))
    assert metric['stages'] == terms['stages']


def test_names_of_runs_in_folders_of_the_same_name(tmp_path):
    runs = [read_run(write_session(tmp_path / name / 'sskd')) for name in ('a', 'b')]
    name_apart(runs)
    assert [run.name for run in runs] == ['a/sskd', 'b/sskd']


def test_the_same_data_by_another_path(tmp_path):
    runs = [
        read_run(write_session(tmp_path / 'a', data='data/photos')),
        read_run(write_session(tmp_path / 'b', data='/home/me/data/photos', distilled=False)),
    ]
    check_same_data(runs)


def test_other_data_or_other_metrics_are_not_compared(tmp_path):
    first = read_run(write_session(tmp_path / 'a'))
    with pytest.raises(UserError, match=r'validated on different data \(val_dataloader.dataset.data_root'):
        check_same_data([first, read_run(write_session(tmp_path / 'b', data='data/drawings'))])
    with pytest.raises(UserError, match=r'different data \(model.head.num_classes: 3 and 4\)'):
        check_same_data([first, read_run(write_session(tmp_path / 'd', classes=4, distilled=False))])
    with pytest.raises(UserError, match='no metric in common'):
        check_same_data([first, read_run(write_session(tmp_path / 'c', metric='coco/bbox_mAP'))])
