import copy

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmkd.errors import UserError
from mmkd.losses import PKDLoss


class Losses(Hook):
    def __init__(self):
        self.seen = []

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.seen.append(outputs['loss'].item())


def bytes_of(module):
    return {name: value.cpu().numpy().tobytes() for name, value in module.state_dict().items()}


def train(runner):
    losses = Losses()
    runner.register_hook(losses)
    runner.train()
    return losses.seen


def feature_kd(**options):
    return dict(type='mmkd.FeatureKD', **options)


def test_without_weight_it_is_the_plain_run_bit_for_bit(distil, plain, tmp_path):
    cfg = copy.deepcopy(plain)
    cfg.update(work_dir=str(tmp_path / 'plain'), experiment_name=f'{tmp_path.name}_plain')
    alone = Runner.from_cfg(cfg)
    expected = train(alone)
    distilled = distil('distilled', model=feature_kd(weight=0))
    assert train(distilled) == expected
    assert bytes_of(distilled.model.student) == bytes_of(alone.model)


def test_terms_are_the_students_own_loss_and_each_places_distance(distil):
    runner = distil('run', hook=dict(lengths=[8]), model=feature_kd(places=['layer2', 'layer4'], weight=3.0))
    runner.train()
    model = runner.model.train()
    batch = next(iter(runner.train_dataloader))
    data = model.data_preprocessor(batch, True)
    state = copy.deepcopy(model.state_dict())
    losses = model.loss(**data)
    assert set(losses) == {'loss_own', 'loss_mimic_layer2', 'loss_mimic_layer4'}
    model.load_state_dict(state)
    features = []
    for name in ('layer2', 'layer4'):
        getattr(model.student.backbone, name).register_forward_hook(lambda *call: features.append(call[2]))
    own = model.student.loss(**data)['loss']
    torch.testing.assert_close(losses['loss_own'], own)
    inputs = model.teacher_inputs(data['inputs'])
    teacher, targets = model.teacher.network, []
    for name in ('layer2', 'layer4'):
        getattr(teacher.backbone, name).register_forward_hook(lambda *call: targets.append(call[2]))
    teacher(inputs, mode='tensor')
    for name, feature, target in zip(('layer2', 'layer4'), features, targets):
        adapted = model.extras[name][0].project(feature)  # this forward fitted the map
        torch.testing.assert_close(losses[f'loss_mimic_{name}'], 3.0 * PKDLoss()((adapted,), (target,)))


def test_every_stage_is_compared_by_default_and_everything_learns(distil):
    runner = distil('run', model=feature_kd())
    runner.train()
    model = runner.model
    assert [stage.name for stage in model.features.places] == ['layer1', 'layer2', 'layer3', 'layer4']
    assert model.current == ('layer1', 'layer2', 'layer3', 'layer4', 'head')
    assert all(parameter.requires_grad for parameter in model.student.parameters())
    assert not any(parameter.requires_grad for parameter in model.teacher.network.parameters())


@pytest.mark.parametrize('epoch', [2, 5])
def test_after_stages_it_resumes_byte_for_byte(distil, tmp_path, epoch):
    hook = dict(stages=[['layer2', 'layer4'], 'all'], lengths=[3, 5])
    whole = distil('whole', hook, feature_kd(places=['layer3', 'layer4']))
    whole.train()
    path = str(tmp_path / 'whole' / f'epoch_{epoch}.pth')
    resumed = distil('resumed', hook, feature_kd(places=['layer3', 'layer4']), resume=True, load_from=path)
    resumed.train()
    assert bytes_of(resumed.model.student) == bytes_of(whole.model.student)


@pytest.mark.parametrize('places', ['layer4', [4]])
def test_places_that_are_no_list_of_names(distil, places):
    with pytest.raises(UserError, match=r'^model.places: it must be a list of names of stages, not '):
        distil('run', model=feature_kd(places=places))


def test_a_place_that_is_no_stage(distil):
    with pytest.raises(UserError, match=r'model.places: the student has no stage layer5'):
        distil('run', model=feature_kd(places=['layer5'])).train()


def test_sskd_mimics_beside_the_head_what_changes_and_nothing_in_the_papers_form(distil):
    runner = distil('run', hook=dict(unfreeze_last=None), model=dict(weight=3.0))
    runner.train()
    model = runner.model.train()
    assert model.current == ('layer1', 'layer2', 'layer3', 'layer4', 'head')
    data = model.data_preprocessor(next(iter(runner.train_dataloader)), True)
    mimicked = {f'loss_mimic_layer{i}' for i in range(1, 5)}
    assert set(model.loss(**data)) == {'loss_own', *mimicked}
    assert len(model.trained_extras()) == 8  # each place has an adapter and a loss
    model.enter(('layer3', 'head'))
    assert set(model.loss(**data)) == {'loss_own', 'loss_mimic_layer3', 'loss_mimic_layer4'}
    model.enter(('head',))
    model.teacher.network.forward = model.teacher.network.extract_feat = None  # no teacher runs
    assert set(model.loss(**data)) == {'loss'}
    assert model.trained_extras() == []


@pytest.mark.parametrize(
    ('model', 'hook'),
    [
        (dict(places=['layer4']), {}),
        (dict(feature_loss=dict(type='mmkd.PKDLoss')), {}),
        (dict(places=['layer1']), dict(stages=['layer1', ['layer2', 'head']])),
        (dict(weight=0, places=['layer4']), dict(unfreeze_last=None)),
    ],
    ids=['frozen', 'a loss', 'before what learns', 'no weight'],
)
def test_what_is_said_of_features_that_are_never_mimicked_beside_the_head(distil, model, hook):
    name = 'feature_loss' if 'feature_loss' in model else 'places'
    with pytest.raises(UserError, match=f"^model.{name}: nothing is mimicked beside the student's own loss, "):
        distil('run', hook, model).train()
