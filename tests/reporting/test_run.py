import json
import shutil

import pytest

from mmkd.errors import UserError
from mmkd.reporting.run import read_run
from tests.work_dirs import write_session


def test_a_run_that_ended(tmp_path):
    run = read_run(write_session(tmp_path / 'sskd'))
    assert (run.name, run.method, run.epochs, run.budget, run.at, run.is_done) == ('sskd', 'SSKD', 4, 40, 40, True)
    assert [record['iteration'] for record in run.validation] == [10, 20, 30, 40]  # logged at epochs
    assert [record['iteration'] for record in run.measures] == [10, 20, 30, 40]  # logged at iterations
    assert run.measures[1]['r2_layer1'] == 0.25
    assert run.phases == [('layer1', 0, 10), ('layer1+neck', 10, 20), ('all', 20, 40)]
    assert run.metrics == ['accuracy/top1']


def test_what_its_log_tells(tmp_path):
    log = read_run(write_session(tmp_path / 'sskd')).log
    layer, neck, head = log.plan
    assert (layer.name, layer.parameters, layer.teacher_end) == ('layer1', 14480, 'backbone.layer1')
    assert (layer.shapes, layer.teacher_shapes) == ('16x16x16', '24x16x16')
    assert (neck.shapes, neck.words, neck.teacher_end) == ('32x8x8, 32x4x4', 'has no loss of its own', '')
    assert (head.shapes, head.words) == ('', 'learns the task')
    assert log.teacher_score == {'accuracy/top1': 69.55, 'b': 1e-05}
    (stage,) = log.ended
    assert (stage.name, stage.iterations, stage.time, stage.rate) == ('layer1', 10, '1 min 14 s', '2,187')
    assert (stage.first, stage.last, stage.r2) == ('31.91', '1.531', '0.50')
    assert log.remarks == ['Stage layer1 has hardly learned: it explains 0.12.']
    assert log.machine == {'PyTorch': '2.14.1', 'GPU number': '2'}


def test_a_run_that_goes_on(tmp_path):
    folder = write_session(tmp_path / 'run', end=2)
    file = folder / '20261128_100125' / 'vis_data' / 'scalars.json'
    with file.open('a') as out:
        out.write('{"lr": 0.1, "loss": 0.5, "time": 0.2, "epoch": 3, "iter": 25, "step": 25}\n{"lr": 0.1, "lo')
    run = read_run(folder)
    assert (run.at, run.is_done, len(run.training), run.training[-1]['iter']) == (25, False, 5, 25)


def test_a_resumed_run_is_one(tmp_path):
    """What lies between the last checkpoint and the end of the first start was learned again."""
    folder = write_session(tmp_path / 'run', end=3, score=10)
    write_session(folder, '20261128_103000', begin=2, end=4, score=50)
    run = read_run(folder)
    assert [record['iter'] for record in run.training] == [5, 10, 15, 20, 25, 30, 35, 40]
    assert [record['accuracy/top1'] for record in run.validation] == [10, 11, 52, 53]
    assert run.log.teacher_score['accuracy/top1'] == 69.55  # only the first start tells
    assert [stage.name for stage in run.log.ended] == ['layer1']


def test_a_run_that_began_anew_is_the_last(tmp_path):
    folder = write_session(tmp_path / 'run', end=3, score=10)
    write_session(folder, '20261128_103000', end=1, score=50)
    assert [record['accuracy/top1'] for record in read_run(folder).validation] == [50]


def test_a_test_in_the_same_folder_is_no_training(tmp_path):
    folder = write_session(tmp_path / 'run')
    tested = folder / '20261128_110000' / 'vis_data'
    tested.mkdir(parents=True)
    shutil.copy(folder / '20261128_100125' / 'vis_data' / 'config.py', tested)
    (tested / 'scalars.json').write_text(json.dumps({'accuracy/top1': 1.0, 'step': 0}))
    assert len(read_run(folder).validation) == 4


def test_without_a_text_log_epochs_are_counted_from_the_scalars(tmp_path):
    folder = write_session(tmp_path / 'run', distilled=False)
    (folder / '20261128_100125' / '20261128_100125.log').unlink()
    run = read_run(folder)
    assert (run.log.per_epoch, run.budget) == (10, 40)
    assert [record['iteration'] for record in run.validation] == [10, 20, 30, 40]


def test_a_metric_of_a_run_that_counts_iterations(tmp_path):
    folder = tmp_path / 'run' / '20261128_100125' / 'vis_data'
    folder.mkdir(parents=True)
    (folder / 'config.py').write_text("model = dict(type='A')\ntrain_cfg = dict(by_epoch=False, max_iters=30)\n")
    records = [
        dict(lr=0.1, loss=1.0, iter=20, step=20),
        dict(mIoU=3.0, step=20),
        dict(lr=0.1, loss=1.0, iter=30, step=30),
    ]
    (folder / 'scalars.json').write_text('\n'.join(map(json.dumps, records)))
    run = read_run(tmp_path / 'run')
    assert (run.epochs, run.budget, run.method) == (None, 30, 'alone')
    assert run.validation == [dict(mIoU=3.0, iteration=20)]


@pytest.mark.parametrize(
    ('made', 'said'),
    [
        (None, 'there is no such folder'),
        ('.', 'it is a file, not the folder of a run'),
        ('', 'it holds no log of a training'),
        ('events.out.tfevents', 'it holds no log of a training'),
        ('a/20261128_100125/vis_data/config.py', 'it is no work dir, but holds some: .*/a; name those'),
        ('20261128_100125/vis_data/config.py', 'nothing was logged there yet'),
        ('vis_data/scalars.json', 'name the work dir around it'),
    ],
)
def test_what_is_no_work_dir(tmp_path, made, said):
    folder = tmp_path / 'folder'
    if made == '.':
        folder.write_text('')
    elif made is not None:
        folder.mkdir()
    if made and made != '.':
        (folder / made).parent.mkdir(parents=True, exist_ok=True)
        (folder / made).write_text("model = dict(type='A')")
    with pytest.raises(UserError, match=said):
        read_run(folder)
