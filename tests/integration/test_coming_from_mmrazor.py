"""Configs as MMRazor's users have them, rewritten by the tables of docs/coming_from_mmrazor.md, train an iteration."""

import re

import pytest
from mmengine.runner import Runner

from mmkd.registry import MODELS
from tests.conftest import ROOT
from tests.distil import distil, plain, teacher  # noqa: F401  (fixtures)
from tests.distil_detectors import few_digits, plain_config, teacher_in  # noqa: F401  (fixtures)
from tests.distillers.test_losses_of_other_methods import begun

PAGE = (ROOT / 'docs' / 'coming_from_mmrazor.md').read_text()
MODULE, FC = (dict(type='ModuleOutputs', source=source) for source in ('neck', 'head.fc'))
WEIGHTED = dict(tau=1, loss_weight=10)


def levels(count, recorded, **loss):
    """A loss for each level of the pyramid."""
    losses, mappings = {}, {}
    for i in range(count):
        losses[f'loss_fpn{i}'] = loss
        mappings[f'loss_fpn{i}'] = dict(
            preds_S=dict(from_student=True, **recorded(i)), preds_T=dict(from_student=False, **recorded(i))
        )
    return dict(distill_losses=losses, loss_forward_mappings=mappings)


def recorders(**found):
    return dict(student_recorders=found, teacher_recorders=found)


def of_scores(loss, **more):
    mapping = dict(preds_S=dict(from_student=True, recorder='fc'), preds_T=dict(from_student=False, recorder='fc'))
    return dict(recorders(fc=FC), distill_losses=dict(loss_kd=loss), loss_forward_mappings=dict(loss_kd=mapping | more))


def from_neck(i):
    return dict(recorder='fpn', data_idx=i)


def from_convs(i):
    return dict(recorder=f'fpn{i}')


LEVELS = 3  # MMRazor's have 5; the fourth and fifth of this detector are no convolutions
CONVS = {f'fpn{i}': dict(type='ModuleOutputs', source=f'neck.fpn_convs.{i}.conv') for i in range(LEVELS)}
MGD = levels(LEVELS, from_convs, type='MGDLoss', alpha_mgd=0.00002)
for index, mapping in enumerate(MGD['loss_forward_mappings'].values()):
    mapping['preds_S']['connector'] = f'connector{index}'
SAMPLES = dict(recorder='data_samples', from_student=True, data_idx=1)
DETECTORS = {
    'cwd': dict(recorders(fpn=MODULE), **levels(LEVELS, from_neck, type='ChannelWiseDivergence', **WEIGHTED)),
    'pkd': dict(recorders(fpn=MODULE), **levels(2, from_neck, type='PKDLoss', loss_weight=6)),
    'mgd': dict(
        recorders(**CONVS),
        connectors={
            f'connector{i}': dict(type='MGDConnector', student_channels=16, teacher_channels=24, lambda_mgd=0.65)
            for i in range(LEVELS)
        },
        **MGD,
    ),
}
CLASSIFIERS = {
    'dkd': of_scores(dict(type='DKDLoss', tau=1, beta=0.5, loss_weight=1), data_samples=SAMPLES),
    'dist': of_scores(dict(type='DISTLoss', beta=1.0, gamma=1.0, tau=1, loss_weight=2)),
    'kd': of_scores(dict(type='KLDivergence', tau=1, reduction='batchmean', loss_weight=3)),
    'wsld': of_scores(dict(type='WSLD', tau=2, loss_weight=2.5, num_classes=10), data_samples=SAMPLES),
}
CLASSIFIERS['dkd']['student_recorders'] = dict(fc=FC, data_samples=dict(type='ModuleInputs', source=''))


def losses_of_the_page():
    """By MMRazor's name: ours, the arguments that are called otherwise, those that are left out."""
    found = {}
    for line in PAGE.partition("| MMRazor's loss |")[2].splitlines()[2:]:
        cells = [cell.strip() for cell in line.split('|')[1:-1]]
        if len(cells) == 3 and 'mmkd.' in cells[1]:
            dropped = re.findall(r'`(\w+)`', cells[2].partition('without ')[2].partition(':')[0])
            names = [re.findall(r'`([\w.]+)`', cell) for cell in cells[:2]]
            for theirs, ours in zip(names[0], names[1] * (len(names[0]) // len(names[1]))):
                found[theirs] = ours, dict(re.findall(r'`(\w+)` → `(\w+)`', cells[2])), dropped
    return found


def rewritten(distiller):
    """The terms, by the page."""
    page = losses_of_the_page()
    terms = {}
    for name, loss in distiller['distill_losses'].items():
        kind, renamed, dropped = page[loss['type']]
        student, teacher = (  # noqa: F811
            next(one for one in distiller['loss_forward_mappings'][name].values() if one['from_student'] is own)
            for own in (True, False)
        )
        connector = distiller.get('connectors', {}).get(student.get('connector'), {})
        given = {**loss, **{key: value for key, value in connector.items() if key in renamed}}
        options = {renamed.get(key, key): value for key, value in given.items() if key not in dropped}
        pair = [
            place(distiller[f'{whose}_recorders'], one) for whose, one in (('student', student), ('teacher', teacher))
        ]
        places = [pair[0] if pair[0] == pair[1] else tuple(pair)]
        terms[name] = dict(loss=dict(options, type=kind), places='scores' if places == ['scores'] else places)
    return terms


def place(found, mapping):
    recorder = found[mapping['recorder']]
    assert recorder['type'] == 'ModuleOutputs'
    if recorder['source'] == 'head.fc':
        return 'scores'
    return f'neck.fpn_convs.{mapping["data_idx"]}' if 'data_idx' in mapping else recorder['source']


def check_an_iteration(runner, names):
    model, data = begun(runner)
    losses = model.loss(**data)
    for name in names:
        assert losses[f'loss_term_{name}'].isfinite()
        assert losses[f'loss_term_{name}'] > 0
    model.train_step(next(iter(runner.train_dataloader)), runner.optim_wrapper)


@pytest.mark.parametrize('name', CLASSIFIERS)
def test_a_classifiers_config(distil, name):  # noqa: F811
    terms = rewritten(CLASSIFIERS[name])
    model = dict(type='mmkd.FeatureKD', terms=terms)
    check_an_iteration(distil(hook=dict(score_teacher=False), model=model), terms)


@pytest.mark.parametrize('name', DETECTORS)
def test_a_detectors_config(few_digits, tmp_path, name):  # noqa: F811
    pytest.importorskip('mmdet')
    cfg = plain_config('RetinaNet', few_digits)
    terms = rewritten(DETECTORS[name])
    cfg.model = dict(type='mmkd.FeatureKD', student=cfg.model, teacher=teacher_in('RetinaNet', tmp_path), terms=terms)
    cfg.default_hooks.stages = dict(type='mmkd.StageScheduleHook', score_teacher=False)
    cfg.work_dir, cfg.experiment_name = str(tmp_path), f'{name}_{tmp_path.name}'
    check_an_iteration(Runner.from_cfg(cfg), terms)


def test_the_page_names_losses_that_exist():
    page = losses_of_the_page()
    assert set(page) >= {'ChannelWiseDivergence', 'PKDLoss', 'MGDLoss', 'DKDLoss', 'DISTLoss', 'KLDivergence', 'WSLD'}
    for kind, _, _ in page.values():
        assert MODELS.get(kind.removeprefix('mmkd.')) is not None
    assert page['MGDLoss'] == ('mmkd.MGDLoss', dict(alpha_mgd='loss_weight', lambda_mgd='masked'), [])
    assert page['KLDivergence'][2] == ['reduction', 'teacher_detach']
