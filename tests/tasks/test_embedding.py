"""Embeddings with a margin head, in every method: what is compared and learned, and what the checkpoint contains."""

import copy
from itertools import product

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from mmengine.runner import Runner
from torch.nn import functional as F

from mmkd.errors import UserError
from mmkd.heads.inherited import CannotInherit
from mmkd.objectives.objective import Step
from mmkd.tasks import kind_of
from mmkd.tasks.classification import Classification
from mmkd.tasks.embedding import Embedding
from mmkd.utils.configs import load_config
from tests.conftest import ROOT

SIDE, PEOPLE = 32, 10
STUDENT = dict(type='mmkd.IResNet', depth=18, num_features=12, widths=(4, 4, 6, 8, 10), image_size=SIDE)
TEACHER = dict(STUDENT, num_features=16, widths=(6, 6, 8, 10, 12))


@pytest.fixture(autouse=True)
def mmpretrain():
    pytest.importorskip('mmpretrain')
    init_default_scope('mmpretrain')


def model(backbone, kind='mmkd.FaceRecognizer', head='ArcFaceClsHead', **options):
    head = dict(type=head, num_classes=PEOPLE, in_channels=backbone['num_features'])
    if head['type'] == 'ArcFaceClsHead':
        head.update(scale=16.0, margins=0.3, **options)
    preprocessor = dict(mean=[127.5] * 3, std=[127.5] * 3, to_rgb=False)
    return dict(type=kind, backbone=dict(backbone), head=head, data_preprocessor=preprocessor)


def samples(number):
    from mmpretrain.structures import DataSample

    return [DataSample().set_gt_label(i % PEOPLE) for i in range(number)]


def distiller(method='KD', student=None, teacher=None, **options):
    own, theirs = student or model(STUDENT), teacher or model(TEACHER)
    cfg = dict(type=f'mmkd.{method}', student=own, teacher=dict(config=dict(model=theirs), checkpoint=None), **options)
    return MODELS.build(copy.deepcopy(cfg))


def learn_all(kd, images):
    """Begin the phase in which everything learns."""
    training = kd.training
    kd.prepare(images)
    kd.enter([stage.name for stage in kd.plan])
    kd.train(training)


def test_a_head_with_a_margin_or_a_prediction_makes_it_this_task():
    assert kind_of(MODELS.build(model(STUDENT))) is Embedding
    assert kind_of(MODELS.build(model(STUDENT, 'ImageClassifier'))) is Embedding
    assert kind_of(MODELS.build(model(STUDENT, head='LinearClsHead'))) is Embedding
    assert kind_of(MODELS.build(model(STUDENT, 'ImageClassifier', head='LinearClsHead'))) is Classification
    without = MODELS.build(dict(model(STUDENT), head=None))
    assert kind_of(without) is None


@pytest.mark.parametrize('kind', ['mmkd.FaceRecognizer', 'ImageClassifier'])
def test_soft_targets_are_compared_without_the_margin(kind):
    torch.manual_seed(0)
    kd = distiller(student=model(STUDENT, kind), teacher=model(STUDENT, kind), gamma=0.5, alpha=0.7)
    kd.teacher.network.load_state_dict(kd.student.state_dict())
    images = torch.randn(6, 3, SIDE, SIDE)
    kd.eval()  # norms like the teacher's
    learn_all(kd, images)
    losses = kd.loss(images, samples(6))
    assert losses['loss_soft'].item() == pytest.approx(0, abs=1e-5)  # the same network
    own = kd.student.loss(images, samples(6))['loss']
    torch.testing.assert_close(losses['loss_own'], 0.5 * own)
    scores = kd.student(images)
    assert own > 2 + F.cross_entropy(scores, torch.arange(6))  # the large margin raises the own loss


def test_soft_loss_and_its_gradient_are_those_of_the_scores():
    torch.manual_seed(0)
    kd = distiller(gamma=1.0, alpha=0.7)
    kd.eval()
    images = torch.randn(6, 3, SIDE, SIDE)
    learn_all(kd, images)
    losses = kd.loss(images, samples(6))
    log_own = F.log_softmax(kd.student(images) / 4, 1)
    log_theirs = F.log_softmax(kd.teacher.network(images) / 4, 1).detach()
    wanted = 0.7 * 16 * F.kl_div(log_own, log_theirs, reduction='batchmean', log_target=True)
    torch.testing.assert_close(losses['loss_soft'], wanted)
    weight = kd.student.head.norm_product.weight
    gradients = [torch.autograd.grad(loss, weight)[0] for loss in (losses['loss_soft'], wanted)]
    torch.testing.assert_close(*gradients)
    assert set(kd.loss_without_labels(images, None)) == {'loss_soft'}
    torch.testing.assert_close(kd.loss_without_labels(images, None)['loss_soft'], wanted)


@pytest.mark.parametrize(('own', 'theirs'), product(['ArcFaceClsHead', 'LinearClsHead'], repeat=2))
def test_heads_with_and_without_a_margin_teach_each_other(own, theirs):
    kd = distiller(student=model(STUDENT, 'ImageClassifier', own), teacher=model(TEACHER, 'ImageClassifier', theirs))
    assert type(kd.task) is (Embedding if own == 'ArcFaceClsHead' else Classification)
    learn_all(kd, torch.randn(2, 3, SIDE, SIDE))
    assert kd.loss(torch.randn(4, 3, SIDE, SIDE), samples(4))['loss_soft'] > 0


def test_a_teacher_without_a_head_teaches_features_only():
    theirs = dict(model(TEACHER), head=None)
    with pytest.raises(UserError, match=r'model.teacher: a FaceRecognizer scores neither images nor boxes'):
        distiller(teacher=theirs)
    sskd = distiller('SSKD', teacher=theirs)
    sskd.prepare(torch.randn(2, 3, SIDE, SIDE))
    assert len(sskd.plan.stages) == 3


PAIRS = [('layer2', 'layer2'), ('layer4', 'layer4'), ('features', 'features')]
COSINE = dict(features=dict(type='mmkd.FeatureMimicLoss', kind='cosine'))


def runner_of(folder, method, hook=None, **options):
    cfg = load_config(str(ROOT / 'configs' / 'baselines' / 'resnet18-w16_digits.py'))
    teacher = dict(config=dict(model=model(TEACHER), default_scope='mmpretrain'), checkpoint=None)
    cfg.model = dict(type=f'mmkd.{method}', student=model(STUDENT), teacher=teacher, **options)
    cfg.pop('data_preprocessor')
    for name in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        cfg[name].dataset.pipeline = [dict(type='Resize', scale=SIDE), dict(type='PackInputs')]
        cfg[name].dataset.indices = 20
        cfg[name].batch_size = 10
        cfg[name].persistent_workers = False
    cfg.train_cfg.max_epochs = 8
    for key in ('val_dataloader', 'val_evaluator', 'val_cfg'):
        cfg[key] = None
    cfg.default_hooks.checkpoint = dict(type='CheckpointHook', interval=8)
    cfg.default_hooks.stages = dict(type='mmkd.StageScheduleHook', **(hook or {}))
    cfg.work_dir, cfg.experiment_name = str(folder), f'{folder.parent.name}_{folder.name}'
    return Runner.from_cfg(Config(cfg.to_dict()))


@pytest.mark.parametrize(
    ('method', 'options', 'hook', 'wanted'),
    [
        ('SSKD', {}, {}, {'loss_mimic_layer2', 'loss_mimic_bn2', 'loss_own'}),
        (
            'SSKD',
            dict(pairs=PAIRS, stage_losses=COSINE),
            dict(unfreeze_last=False),
            {'loss_mimic_layer2', 'loss_mimic_layer4', 'loss_mimic_features', 'loss'},
        ),
        ('MHKD', {}, {}, {'loss_own', 'loss_soft', 'loss_soft_layer2', 'loss_own_layer2', 'loss_teacher_layer3'}),
        ('KD', {}, {}, {'loss_own', 'loss_soft'}),
        ('FeatureKD', dict(places=['layer3', 'bn2']), {}, {'loss_own', 'loss_mimic_layer3', 'loss_mimic_bn2'}),
    ],
)
def test_every_method_trains_it(tmp_path, method, options, hook, wanted):
    runner = runner_of(tmp_path / 'run', method, hook, **options)
    seen, step = [], runner.model.train_step
    runner.model.train_step = lambda data, optim_wrapper: seen.append(step(data, optim_wrapper)) or seen[-1]
    runner.train()
    names = {name for row in seen for name in row}
    assert wanted <= names, names
    assert all(torch.isfinite(value).all() for row in seen for value in row.values() if isinstance(value, torch.Tensor))
    state = torch.load(tmp_path / 'run' / 'epoch_8.pth', weights_only=False)['state_dict']
    for kind in ('mmkd.FaceRecognizer', 'ImageClassifier'):
        MODELS.build(model(STUDENT, kind)).load_state_dict(state, strict=True)


def test_an_embedding_of_another_size_is_mimicked_by_the_best_map():
    torch.manual_seed(0)
    sskd = distiller('SSKD', pairs=PAIRS, stage_losses=COSINE)
    images = torch.randn(64, 3, SIDE, SIDE)
    sskd.prepare(images)
    assert [stage.shapes for stage in sskd.plan.stages][-1] == ((12, 1, 1),)
    sskd.build_extras([('features',), ('head',)])
    sskd.enter(['features'])
    sskd.train()
    loss = sskd.loss(images, samples(64))['loss_mimic_features']
    ((own,), (target,)) = sskd.mimicking.compare(Step(('features',), images, None))['features']
    assert own.shape == target.shape == (64, 16, 1, 1)
    torch.testing.assert_close(loss, (1 - F.cosine_similarity(own, target, dim=1)).mean())


def inheriting(theirs):
    torch.manual_seed(0)
    sskd = distiller('SSKD', teacher=model(theirs), pairs=PAIRS, stage_losses=COSINE)
    images = torch.randn(64, 3, SIDE, SIDE)
    sskd.prepare(images)
    sskd.build_extras([*((name,) for name, _ in PAIRS), ('head',)])
    for name, _ in PAIRS:
        sskd.enter([name])
        sskd.train()
        sskd.loss(images, samples(64))  # this fits the maps between the features
    return sskd, sskd.student.head.norm_product.weight.clone(), images


def test_the_margin_head_becomes_the_students_where_embeddings_are_of_one_size():
    sskd, _, images = inheriting(dict(TEACHER, num_features=12))
    assert "The student's head is now the teacher's." in sskd.inherit_head(images)
    torch.testing.assert_close(
        sskd.student.head.norm_product.weight, sskd.teacher.network.head.norm_product.weight, rtol=0, atol=0
    )


def test_a_margin_head_cannot_be_multiplied_with_a_map_between_embeddings():
    sskd, own, images = inheriting(TEACHER)
    with pytest.raises(CannotInherit, match='no bias takes up the constant of the map between'):
        sskd.inherit_head(images)
    assert torch.equal(sskd.student.head.norm_product.weight, own)


def test_without_heads_and_labels_the_embedding_is_mimicked(tmp_path, monkeypatch):
    with_head = model
    monkeypatch.setitem(globals(), 'model', lambda *args, **kwargs: dict(with_head(*args, **kwargs), head=None))
    hook = dict(stages=['layer2', 'layer4', 'features'])
    runner = runner_of(tmp_path / 'run', 'SSKD', hook, pairs=PAIRS, stage_losses=COSINE)
    seen, step = [], runner.model.train_step
    runner.model.train_step = lambda data, optim_wrapper: seen.append(step(data, optim_wrapper)) or seen[-1]
    runner.train()
    assert {name for row in seen for name in row} - {'loss'} == {f'loss_mimic_{name}' for name in hook['stages']}
