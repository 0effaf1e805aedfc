"""Rules of MHKD on a one-stage and a two-stage detector that train for real."""

import copy
import json
from collections import Counter

import pytest
import torch
from mmengine.runner import Runner

from mmkd.heads import class_scores
from tests.distil_detectors import in_two_processes, one_kind_quick
from tests.integration.test_detector_rules import Watch, bytes_of, check_plain_checkpoint, differences

MHKD = dict(
    type='mmkd.MHKD',
    heads=dict(type='mmdet.FCOSHead', feat_channels=32, stacked_convs=1, norm_on_bbox=True, center_sampling=True),
    attach=['layer2', 'layer3'],
)
HEADS_FIRST = dict(stages=['teacher_heads', 'all'], lengths=[2, 4])


@pytest.fixture(scope='module')
def whole(distil, tmp_path_factory):
    """An uninterrupted run: folder, runner and records."""
    folder = tmp_path_factory.mktemp('whole')
    runner, watch = distil(folder, HEADS_FIRST, MHKD), Watch()
    runner.register_hook(watch)
    runner.train()
    return folder, runner, watch


def test_who_learns_when(whole):
    """The teacher's heads learn first and alone, then the student and its heads; the teacher never learns."""
    _, runner, watch = whole
    first, then = watch.stages
    (student, extras, teacher), (student_then, extras_then, _) = first['start'], first['end']
    assert differences(student, student_then) == set()
    assert {name.split('.')[0] for name in differences(extras, extras_then)} == {'teacher_heads'}
    (student, extras, _), (student_then, extras_then, teacher_then) = then['start'], then['end']
    assert differences(student, student_then) >= {name for name, _ in runner.model.student.named_parameters()}
    assert {name.split('.')[0] for name in differences(extras, extras_then)} == {'student_heads'}
    assert teacher_then == teacher


def test_the_checkpoint_is_the_plain_detector(whole, plain):
    folder, runner, _ = whole
    check_plain_checkpoint(folder / 'epoch_6.pth', runner, plain)


@pytest.mark.parametrize('epoch', [1, 2, 4], ids=["teacher's heads", 'boundary', 'all'])
def test_a_resumed_run_ends_where_the_uninterrupted_one_does(whole, distil, tmp_path, epoch):
    folder, runner, _ = whole
    resumed = distil(tmp_path, HEADS_FIRST, MHKD, resume=True, load_from=str(folder / f'epoch_{epoch}.pth'))
    resumed.train()
    for part in ('student', 'extras'):
        assert bytes_of(getattr(resumed.model, part)) == bytes_of(getattr(runner.model, part))


def test_how_far_the_heads_are_is_logged_at_validation(whole):
    """Compute by hand the divergence of both heads' scores on the validation images, after the last iteration."""
    folder, runner, _ = whole
    lines = [json.loads(line) for file in folder.glob('*/vis_data/scalars.json') for line in file.open()]
    distiller = runner.model.eval()
    sums, images = Counter(), 0
    for batch in runner.val_dataloader:
        data = distiller.data_preprocessor(batch, False)
        inputs = data['inputs']
        for name, stage in (('layer2', 1), ('layer3', 2)):
            scores = []
            pairs = (('student', distiller.student, inputs), ('teacher', distiller.teacher.network, None))
            for whose, network, own in pairs:
                own = distiller.teacher_inputs(inputs, data['data_samples']) if own is None else own
                head = distiller.extras[f'{whose}_heads'][name].head
                with torch.no_grad():
                    levels = network.backbone(own)
                    scores.append(class_scores(head, head((levels[stage],))))
            sums[name] += len(inputs) * distiller.head_term.loss(*scores).item()
        images += len(inputs)
    for name, total in sums.items():
        (logged,) = [line[f'val_soft_{name}'] for line in lines if f'val_soft_{name}' in line]
        assert logged == pytest.approx(total / images, rel=1e-3)
        assert logged > 0


def test_without_weights_it_is_the_plain_training_to_the_last_bit(distil, plain, tmp_path):
    short = {'train_cfg': dict(by_epoch=True, max_epochs=2, val_interval=2)}
    nothing = dict(MHKD, alpha=0, beta=0, attach=None)
    runner = distil(tmp_path / 'mhkd', dict(stages=['all'], lengths=None), nothing, **short)
    runner.train()
    cfg = copy.deepcopy(plain)
    cfg.merge_from_dict({'work_dir': str(tmp_path / 'plain'), 'experiment_name': f'{tmp_path}_plain', **short})
    alone = Runner.from_cfg(cfg)
    alone.train()
    assert bytes_of(runner.model.student) == bytes_of(alone.model)


def test_stages_first_then_many_heads_in_mixed_precision(distil, tmp_path):
    stages = ['layer1', 'layer2', 'layer3', 'layer4', 'neck', 'all']
    runner, watch = distil(tmp_path, dict(stages=stages, lengths=[1] * 6), MHKD), Watch()
    runner.register_hook(watch)
    distiller, dtypes = runner.model, set()
    distiller.student.backbone.layer1.register_forward_hook(lambda *args: dtypes.add(args[-1].dtype))
    distiller.loss = torch.autocast('cpu', torch.bfloat16)(distiller.loss)
    runner.train()
    assert torch.bfloat16 in dtypes
    for record, stage in zip(watch.stages[:-1], distiller.plan):
        changed = differences(record['start'][0], record['end'][0])
        assert changed & dict(distiller.student.named_parameters()).keys() == set(stage.parameters)
    assert all(p.isfinite().all() for p in distiller.parameters())


@pytest.mark.skipif(torch.cuda.is_available(), reason='gloo on CPUs is what is tested')
@one_kind_quick('RetinaNet')  # test_detector_rules takes the other kind
def test_two_processes_end_with_the_same_student(config_of, tmp_path):
    short = {'train_cfg': dict(by_epoch=True, max_epochs=2, val_interval=2)}
    cfg = config_of(tmp_path / 'run', dict(stages=['teacher_heads', 'all'], lengths=[1, 1]), MHKD, **short)
    text = in_two_processes(cfg, tmp_path)
    assert 'Stage teacher_heads begins' in text
    assert 'Stage all begins' in text
    first, second = (torch.load(tmp_path / 'run' / f'rank{rank}.pth') for rank in (0, 1))
    assert first.keys() == second.keys()
    differing = [name for name in first if not torch.equal(first[name], second[name])]
    assert {name.rpartition('.')[2] for name in differing} <= {'running_mean', 'running_var'}  # plain trainings do this
