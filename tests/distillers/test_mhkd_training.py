"""Multi-head distillation and plain soft targets: which parts learn, from which losses, and when."""

import copy
import json

import numpy as np
import pytest
import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmkd.errors import UserError
from mmkd.heads import save_heads
from tests.distillers.test_sskd_training import Watch, bytes_of

HEADS = dict(type='mmkd.AuxiliaryHead', width=8)
STAGES = 'layer1', 'layer2', 'layer3'
WHOSE = 'student_heads', 'teacher_heads'


@pytest.fixture
def mhkd(distil):
    """Build the runner of an MHKD training with small heads."""

    def make(work_dir: str = 'run', hook: dict | None = None, model: dict | None = None, **changes):
        return distil(work_dir, hook, {**dict(type='mmkd.MHKD', heads=HEADS), **(model or {})}, **changes)

    return make


class Losses(Hook):
    """The loss terms of every iteration."""

    def __init__(self):
        self.seen = []

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.seen.append({name: value.item() for name, value in outputs.items()})


def losses_of(runner) -> list[dict]:
    losses = Losses()
    runner.register_hook(losses)
    runner.train()
    return losses.seen


def prepared(runner) -> tuple:
    """The distiller before its first iteration, in evaluation mode, and a batch."""
    runner._train_loop = runner.build_train_loop(runner._train_loop)
    hook = next(hook for hook in runner.hooks if type(hook).__name__ == 'StageScheduleHook')
    hook.before_run(runner)
    distiller = runner.model
    distiller.enter(hook.schedule.phases[-1])
    distiller.eval()
    batch = distiller.data_preprocessor(next(iter(runner.train_dataloader)), False)
    return distiller, batch['inputs'], batch['data_samples']


def softmax(scores):
    exp = np.exp(scores - scores.max(1, keepdims=True))
    return exp / exp.sum(1, keepdims=True)


def soft(student, teacher, tau=4.0):
    """Compute the loss by its definition, row by row."""
    rows = zip(softmax(student / tau), softmax(teacher / tau))
    return tau**2 * np.mean([sum(t * (np.log(t) - np.log(s)) for s, t in zip(*row)) for row in rows])


def cross_entropy(scores, labels):
    return np.mean([-np.log(row[label]) for row, label in zip(softmax(scores), labels)])


def features_by_hand(network, inputs) -> list:
    x = network.backbone.conv1(inputs)
    x = network.backbone.relu(network.backbone.norm1(x))
    found = []
    for name in STAGES:
        x = network.backbone.get_submodule(name)(x)
        found.append((x,))
    return found


@pytest.mark.parametrize('target', ['heads', 'final'])
def test_every_term_against_numpy(mhkd, target):
    model = dict(gamma=0.3, alpha=0.7, beta=0.6, ce_share=0.25, head_weights=dict(layer2=3.0), target=target)
    distiller, inputs, samples = prepared(mhkd(model=model))
    for module in distiller.extras.modules():  # scores differ enough for float32 to show it
        if isinstance(module, torch.nn.Linear):
            torch.nn.init.normal_(module.weight, std=3)
    teacher_inputs = distiller.teacher_inputs(inputs)
    with torch.no_grad():
        losses = {name: value.item() for name, value in distiller(inputs, samples, mode='loss').items()}
        student, teacher = distiller.student, distiller.teacher.network
        own = [
            head(x) for head, x in zip(distiller.extras['student_heads'].children(), features_by_hand(student, inputs))
        ]
        z_s, z_t = student(inputs, mode='tensor'), teacher(teacher_inputs, mode='tensor')
        theirs = [z_t] * 3
        if target == 'heads':
            heads = distiller.extras['teacher_heads'].children()
            theirs = [head(x) for head, x in zip(heads, features_by_hand(teacher, teacher_inputs))]
    z_s, z_t, *scores = (tensor.double().numpy() for tensor in (z_s, z_t, *own, *theirs))
    labels = [int(sample.gt_label) for sample in samples]
    expected = {'loss_own': 0.3 * cross_entropy(z_s, labels), 'loss_soft': 0.7 * soft(z_s, z_t)}
    for i, (name, weight) in enumerate(zip(STAGES, (1, 3, 1))):
        expected[f'loss_soft_{name}'] = 0.6 * weight * 0.75 * soft(scores[i], scores[3 + i])
        expected[f'loss_own_{name}'] = 0.6 * weight * 0.25 * cross_entropy(scores[i], labels)
        if target == 'heads':
            expected[f'loss_teacher_{name}'] = cross_entropy(scores[3 + i], labels)
    assert losses == pytest.approx(expected, rel=1e-3, abs=2e-6)
    assert min(expected.values()) > 1e-4


@pytest.mark.parametrize('model', [dict(type='mmkd.KD', alpha=0, gamma=1), dict(alpha=0, beta=0, gamma=1, heads=HEADS)])
def test_without_weights_it_is_the_plain_training_to_the_last_bit(distil, plain, tmp_path, model):
    cfg = copy.deepcopy(plain)
    cfg.update(work_dir=str(tmp_path / 'plain'), experiment_name=f'{tmp_path.name}_plain')
    plain_runner = Runner.from_cfg(cfg)
    expected = losses_of(plain_runner)
    runner = distil('distilled', model={'type': 'mmkd.MHKD', **model})
    assert [terms['loss'] for terms in losses_of(runner)] == [terms['loss'] for terms in expected]
    assert bytes_of(runner.model.student) == bytes_of(plain_runner.model)
    assert not bytes_of(runner.model.extras)


def test_the_teacher_never_changes_and_its_heads_learn_along(mhkd):
    runner, watch = mhkd(), Watch()
    runner.register_hook(watch)
    runner.train()
    (record,) = watch.stages
    before, after = record['start'], record['end']
    assert before['teacher'] == after['teacher']
    parameters = dict(runner.model.extras.named_parameters())
    assert {name.split('.')[0] for name in parameters} == {'student_heads', 'teacher_heads'}
    assert all(before['extras'][name] != after['extras'][name] for name in parameters)
    trained = {name for name, _ in runner.model.student.named_parameters()}
    assert all(before['student'][name] != after['student'][name] for name in trained)


def test_the_teachers_heads_change_only_in_a_phase_of_their_own(mhkd):
    runner, watch = mhkd(hook=dict(stages=['teacher_heads', 'all'])), Watch()
    runner.register_hook(watch)
    runner.train()
    first, second = watch.stages
    assert first['names'] == ('teacher_heads',)
    assert first['start']['student'] == first['end']['student']
    for name, tensor in first['start']['extras'].items():
        whose = name.split('.')[0]
        assert (tensor == first['end']['extras'][name]) == (whose == 'student_heads'), name
        assert (second['start']['extras'][name] == second['end']['extras'][name]) == (whose == 'teacher_heads'), name
    assert (
        len({record['teacher'][name] for record in (first['start'], second['end']) for name in ['head.fc.bias']}) == 1
    )


def test_the_checkpoint_is_the_plain_student(mhkd, plain, tmp_path):
    from mmpretrain import get_model

    mhkd().train()
    checkpoint = torch.load(tmp_path / 'run' / 'epoch_8.pth', weights_only=False)
    student = get_model(copy.deepcopy(plain), pretrained=False)
    assert list(checkpoint['state_dict']) == list(student.state_dict())
    student.load_state_dict(checkpoint['state_dict'], strict=True)


@pytest.mark.parametrize(
    ('hook', 'epoch'),
    [({}, 3), (dict(stages=['teacher_heads', 'all']), 2), (dict(stages=['teacher_heads', 'all']), 6)],
    ids=['joint', 'in the heads', 'after the heads'],
)
@pytest.mark.parametrize('seed', [0, None])
def test_resume_ends_byte_for_byte_where_the_uninterrupted_run_ends(mhkd, tmp_path, hook, epoch, seed):
    changes = dict(randomness=dict(seed=seed))
    whole = mhkd('whole', hook, **changes)
    whole.train()
    path = str(tmp_path / 'whole' / f'epoch_{epoch}.pth')
    resumed = mhkd('resumed', hook, resume=True, load_from=path, **changes)
    resumed.train()
    assert bytes_of(resumed.model.student) == bytes_of(whole.model.student)
    assert bytes_of(resumed.model.extras) == bytes_of(whole.model.extras)


def test_other_heads_are_no_resume(mhkd, tmp_path):
    short = {'train_cfg.max_epochs': 1}
    mhkd('first', **short).train()
    wider = dict(heads=dict(type='mmkd.AuxiliaryHead', width=16))
    runner = mhkd('second', model=wider, resume=True, load_from=str(tmp_path / 'first' / 'epoch_1.pth'), **short)
    with pytest.raises(UserError, match=r'^--resume: the adapters or auxiliary heads .* size mismatch'):
        runner.train()


def test_one_forward_of_each_network_and_head_an_iteration(mhkd):
    runner = mhkd(**{'train_cfg.max_epochs': 1, 'default_hooks.checkpoint': dict(type='CheckpointHook', interval=9)})
    distiller = runner.model
    calls = []

    class Count(Hook):
        priority = 6

        def before_train(self, runner):
            parts = dict(
                student=distiller.student.backbone.layer1,
                teacher=distiller.teacher.network.backbone.layer1,
                student_head=distiller.student.head,
                teacher_head=distiller.teacher.network.head,
                **{f'{whose}.{name}': distiller.extras[whose][name] for whose in WHOSE for name in STAGES},
            )
            for name, part in parts.items():
                part.register_forward_hook(lambda *_, name=name: calls.append(name) if distiller.training else None)

    runner.register_hook(Count())
    runner.train()
    assert {name: calls.count(name) for name in calls} == dict.fromkeys(
        (
            *('student', 'teacher', 'student_head', 'teacher_head'),
            *(f'{whose}.{name}' for whose in ('student_heads', 'teacher_heads') for name in STAGES),
        ),
        4,
    )


def test_without_the_final_scores_the_teacher_runs_no_further_than_its_last_head(mhkd):
    distiller, inputs, samples = prepared(mhkd(model=dict(alpha=0, attach=['layer1'])))
    calls = []
    for name in ('backbone.layer1', 'backbone.layer2', 'head'):
        part = distiller.teacher.network.get_submodule(name)
        part.register_forward_hook(lambda *_, name=name: calls.append(name))
    assert 'loss_soft' not in distiller(inputs, samples, mode='loss')
    assert calls == ['backbone.layer1']


def test_the_heads_soft_loss_stops(mhkd):
    seen = losses_of(mhkd(model=dict(soft_until=0.5)))
    assert ['loss_soft_layer1' in terms for terms in seen] == [True] * 16 + [False] * 16
    assert all('loss_own_layer1' in terms and 'loss_soft' in terms for terms in seen)


def test_every_heads_accuracy_is_logged_at_validation(mhkd, tmp_path):
    mhkd(hook=dict(stages=['teacher_heads', 'all'])).train()
    lines = [json.loads(line) for line in next((tmp_path / 'run').glob('*/vis_data/scalars.json')).open()]
    seen = {key for line in lines for key in line if 'heads/' in key}
    assert seen == {f'val_{whose}_heads/{name}' for whose in ('student', 'teacher') for name in STAGES}
    accuracy = [line['val_student_heads/layer1'] for line in lines if 'val_student_heads/layer1' in line]
    assert len(accuracy) == 4
    assert all(0 <= value <= 100 for value in accuracy)
    assert sum('val_teacher_heads/layer1' in line for line in lines) == 8


def test_both_networks_see_the_same_mixed_batch_and_soft_labels_work(mhkd):
    augment = dict(augments=[dict(type='Mixup', alpha=0.8), dict(type='CutMix', alpha=1.0)])
    runner = mhkd(
        **{
            'model.student.train_cfg': augment,
            'model.student.head.loss': dict(type='LabelSmoothLoss', label_smooth_val=0.1, mode='original'),
            'train_cfg.max_epochs': 2,
        }
    )
    distiller, seen = runner.model, {}
    for name, network in (('student', distiller.student), ('teacher', distiller.teacher.network)):
        network.backbone.register_forward_pre_hook(
            lambda _, args, name=name: seen.setdefault(name, []).append(args[0]) if distiller.training else None
        )
    terms = losses_of(runner)
    assert len(terms) == 8
    for student, teacher in zip(seen['student'][-8:], seen['teacher'][-8:]):
        assert torch.equal(student, teacher)
    assert all(np.isfinite(list(losses.values())).all() for losses in terms)


def test_saved_heads_serve_another_run_and_stay_as_they_are(mhkd, tmp_path):
    first = mhkd('first', **{'train_cfg.max_epochs': 2})
    first.train()
    path = str(tmp_path / 'heads.pth')
    assert save_heads(str(tmp_path / 'first' / 'epoch_2.pth'), path) == len(
        first.model.extras['teacher_heads'].state_dict()
    )
    second = mhkd('second', model=dict(teacher_heads=path), **{'train_cfg.max_epochs': 2})
    terms = losses_of(second)
    assert 'loss_teacher_layer1' not in terms[0]
    assert bytes_of(second.model.extras['teacher_heads']) == bytes_of(first.model.extras['teacher_heads'])
    for unfit in (dict(attach=['layer1']), dict(heads=dict(type='mmkd.AuxiliaryHead', width=4))):
        with pytest.raises(UserError, match=r'model\.teacher_heads: .* does not fit: .* \((unknown|\(.*instead of)'):
            mhkd('third', model={**dict(teacher_heads=path), **unfit}).train()
    with pytest.raises(UserError, match="holds no teacher's heads; make it with"):
        mhkd('fourth', model=dict(teacher_heads=str(tmp_path / 'first' / 'epoch_2.pth'))).train()


def test_stages_first_then_many_heads(mhkd):
    runner = mhkd(hook=dict(stages=['layer1', 'layer2', 'layer3', 'layer4', 'all']))
    seen = losses_of(runner)
    names = [sorted(name for name in terms if name.startswith('loss_')) for terms in seen]
    assert names[0] == ['loss_mimic_layer1']
    assert names[15] == ['loss_mimic_layer4']
    assert {'loss_soft', 'loss_soft_layer1', 'loss_own_layer3', 'loss_teacher_layer2'} <= set(names[16])


def test_average_of_weights(mhkd, tmp_path):
    runner = mhkd(custom_hooks=[dict(type='EMAHook', momentum=0.1)], **{'train_cfg.max_epochs': 2})
    runner.train()
    checkpoint = torch.load(tmp_path / 'run' / 'epoch_2.pth', weights_only=False)
    assert {name.removeprefix('module.') for name in checkpoint['ema_state_dict']} - {'steps'} == set(
        runner.model.student.state_dict()
    )


def test_under_autocast_the_terms_stay_close(mhkd):
    distiller, inputs, samples = prepared(mhkd())
    with torch.no_grad():
        plain = distiller(inputs, samples, mode='loss')
        with torch.autocast('cpu', torch.bfloat16):
            half = distiller(inputs, samples, mode='loss')
    for name, value in plain.items():
        assert half[name].dtype == torch.float32
        assert half[name].item() == pytest.approx(value.item(), rel=0.1, abs=0.02), name


@pytest.mark.parametrize(
    ('model', 'message'),
    [
        (dict(alpha=-1), r'model\.alpha must be a finite number of 0 or more, not -1'),
        (dict(beta=float('nan')), r'model\.beta must be'),
        (dict(ce_share=1.5), r'model\.ce_share must be a number from 0 to 1, not 1\.5'),
        (dict(head_weights=dict(layer1=-2)), r'model\.head_weights\.layer1 must be'),
        (dict(head_weights=dict(layer4=1)), r'model\.head_weights: the student has no stage layer4'),
        (dict(soft_loss=dict(type='mmkd.SoftTargetLoss', tau=0)), r'SoftTargetLoss: tau must be .* not 0'),
        (dict(target='teacher'), r"model\.target must be 'heads' or 'final'"),
        (dict(ce_share=0, soft_until=0.5), r'model\.ce_share: with 0, heads have nothing to learn'),
        (dict(attach=[7]), r'model\.attach: there is no stage 7; the student has 4: layer1'),
        (dict(attach=['layer1', 0]), r'names a place twice'),
        (dict(attach=['layer9']), r"model\.attach, student: No stage can end at 'layer9'.*Did you mean"),
        (dict(attach=[('layer1', 'layer1.7')]), r"model\.attach, teacher: No stage can end at 'layer1\.7'"),
        (dict(gamma=0, alpha=0), r'model\.gamma and model\.alpha: both are 0'),
        (dict(attach=[]), r'model\.attach: \[\] must be a list of one place or more'),
        (dict(attach='layer1'), r"model\.attach: 'layer1' must be a list"),
        (dict(attach=[3.5]), r'model\.attach: 3\.5 must be the index or name'),
        (dict(teacher_heads='nowhere.pth'), r'model\.teacher_heads: nowhere\.pth does not exist'),
    ],
)
def test_mistakes_are_told_before_the_first_iteration(mhkd, model, message):
    with pytest.raises(UserError, match=message):
        mhkd(model=model).train()


@pytest.mark.parametrize('model', [dict(type='mmkd.KD'), dict(type='mmkd.MHKD'), dict(type='mmkd.SSKD', alpha=1.0)])
def test_other_classes_are_refused(distil, teacher, model):
    other = copy.deepcopy(teacher)
    other['config']['model']['head']['num_classes'] = 7
    other['checkpoint'] = None
    with pytest.raises(UserError, match=r'model\.teacher: it knows 7 classes, the student 10'):
        distil(model=dict(model, teacher=other)).train()


def test_heads_of_the_teacher_come_before_the_student(mhkd):
    with pytest.raises(UserError, match='teacher_heads teach the student, so they must come first'):
        mhkd(hook=dict(stages=['all', 'teacher_heads'])).train()


def test_heads_of_the_teacher_learn_alone(mhkd):
    with pytest.raises(UserError, match='teacher_heads learn in a phase of their own'):
        mhkd(hook=dict(stages=[['teacher_heads', 'layer1'], 'all'])).train()


def test_two_heads_learn_from_one_place_of_the_teacher(mhkd):
    model = dict(alpha=0, attach=[('layer1', 'layer1'), ('layer2', 'layer1')])
    seen = losses_of(mhkd(model=model, **{'train_cfg.max_epochs': 1}))
    assert {'loss_soft_layer1', 'loss_soft_layer2'} <= set(seen[0])


def test_heads_that_learn_from_the_ground_truth_alone_need_no_teacher(mhkd):
    runner = mhkd(model=dict(ce_share=1), **{'train_cfg.max_epochs': 1})
    assert not [name for name in losses_of(runner)[0] if 'teacher' in name or name.startswith('loss_soft_')]
    assert {name.split('.')[0] for name in bytes_of(runner.model.extras)} == {'student_heads'}


def test_soft_targets_cannot_teach_a_single_stage(distil):
    with pytest.raises(UserError, match='layer1 cannot be learned without the head'):
        distil(model=dict(type='mmkd.KD'), hook=dict(stages=['layer1', 'head'])).train()


def test_soft_targets_against_numpy(distil):
    distiller, inputs, samples = prepared(distil(model=dict(type='mmkd.KD')))
    with torch.no_grad():
        losses = {name: value.item() for name, value in distiller(inputs, samples, mode='loss').items()}
        z_s = distiller.student(inputs, mode='tensor').double().numpy()
        z_t = distiller.teacher.network(inputs, mode='tensor').double().numpy()
    labels = [int(sample.gt_label) for sample in samples]
    assert losses == pytest.approx(
        {'loss_own': 0.1 * cross_entropy(z_s, labels), 'loss_soft': 0.9 * soft(z_s, z_t)}, rel=1e-3
    )


def mixed(runner) -> tuple:
    """The distiller before its first iteration, and a batch that the student's Mixup has mixed."""
    distiller, _, _ = prepared(runner)
    batch = distiller.data_preprocessor(next(iter(runner.train_dataloader)), True)
    return distiller, batch['inputs'], batch['data_samples']


MIXUP = {'model.student.train_cfg': dict(augments=[dict(type='Mixup', alpha=0.8)])}


def test_heads_learn_mixed_labels_too(mhkd):
    distiller, inputs, samples = mixed(mhkd(model=dict(beta=0.6, ce_share=0.25), **MIXUP))
    for module in distiller.extras.modules():
        if isinstance(module, torch.nn.Linear):
            torch.nn.init.normal_(module.weight, std=3)
    targets = np.stack([sample.gt_score.double().numpy() for sample in samples])
    assert sorted(np.count_nonzero(targets, 1))[-1] == 2
    with torch.no_grad():
        losses = distiller(inputs, samples, mode='loss')
        networks = (distiller.student, inputs), (distiller.teacher.network, distiller.teacher_inputs(inputs))
        features = [features_by_hand(*network) for network in networks]
        for whose, own, name, weight in zip(
            ('student_heads', 'teacher_heads'), features, ('own', 'teacher'), (0.15, 1)
        ):
            for stage, head, feature in zip(STAGES, distiller.extras[whose].children(), own):
                expected = -(targets * np.log(softmax(head(feature).double().numpy()))).sum(1).mean()
                assert losses[f'loss_{name}_{stage}'].item() == pytest.approx(weight * expected, rel=1e-3)


def test_the_validation_mixes_no_images(mhkd, monkeypatch):
    runner = mhkd(**MIXUP, **{'train_cfg.max_epochs': 1})
    seen = []
    measure = type(runner.model).measure
    monkeypatch.setattr(type(runner.model), 'measure', lambda self, *args: seen.append(args) or measure(self, *args))
    runner.train()
    batches = [runner.model.data_preprocessor(batch, False)['inputs'] for batch in runner.val_dataloader]
    assert len(seen) == len(batches)
    for (inputs, samples), batch in zip(seen, batches):
        assert torch.equal(inputs, batch)
        assert [int((sample.gt_score > 0).sum()) for sample in samples] == [1] * len(batch)


@pytest.fixture
def other_images(teacher):
    """A teacher with another normalisation, whose images are padded to multiples of 12."""
    other = copy.deepcopy(teacher)
    mean, std = [30.0, 10.0, 50.0], [20.0, 90.0, 40.0]
    other['config']['data_preprocessor'].update(mean=mean, std=std, pad_size_divisor=12)
    return other


@pytest.mark.parametrize('method', ['mmkd.KD', 'mmkd.MHKD'])
def test_the_teacher_gets_images_as_its_own_config_wants_them(distil, other_images, method):
    options = dict(heads=HEADS) if method == 'mmkd.MHKD' else {}
    runner = distil(model=dict(type=method, teacher=other_images, alpha=0.7, **options))
    distiller, inputs, samples = prepared(runner)
    raw = next(iter(runner.train_dataloader))
    inputs = distiller.data_preprocessor(copy.deepcopy(raw), False)['inputs']
    samples = raw['data_samples']
    network = distiller.teacher.network
    theirs = network.data_preprocessor(copy.deepcopy(raw), False)['inputs']
    assert theirs.shape[-1] == 24 > inputs.shape[-1]
    with torch.no_grad():
        losses = distiller(inputs, samples, mode='loss')
        z_s, z_t = distiller.student(inputs, mode='tensor'), network(theirs, mode='tensor')
        assert losses['loss_soft'].item() == pytest.approx(
            0.7 * soft(z_s.double().numpy(), z_t.double().numpy()), rel=1e-3
        )
        if method == 'mmkd.KD':
            return
        labels = [int(sample.gt_label) for sample in samples]
        features = features_by_hand(network, theirs)
        ours = [feature.shape[-1] for (feature,) in features_by_hand(distiller.student, inputs)]
        for name, head, (feature,), side in zip(STAGES, distiller.extras['teacher_heads'].children(), features, ours):
            scores = head((feature[..., :side, :side],)).double().numpy()
            assert losses[f'loss_teacher_{name}'].item() == pytest.approx(cross_entropy(scores, labels), rel=1e-3)


@pytest.mark.parametrize('method', ['mmkd.MHKD', 'mmkd.SSKD'])
def test_a_convolution_of_the_teacher_that_is_read_is_not_folded(distil, method):
    path = 'backbone.layer2.0.conv2'
    options = dict(heads=HEADS, attach=[(path, path)]) if method == 'mmkd.MHKD' else dict(pairs=[(path, path)])
    runner = distil(model=dict(type=method, **options))
    network = runner.model.teacher.network
    for module in network.modules():  # statistics with which folding would show
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.uniform_(-1, 1)
            module.running_var.uniform_(0.5, 2)
    untouched = copy.deepcopy(network)
    distiller, inputs, _ = prepared(runner)
    outputs = []
    for whole in (network, untouched):
        whole.get_submodule(path).register_forward_hook(lambda *args: outputs.append(args[-1]))
        whole.extract_feat(distiller.teacher_inputs(inputs))
    torch.testing.assert_close(*outputs, rtol=1e-4, atol=1e-5)
    (end,) = (
        (p.teacher for p in distiller.heads.points)
        if method == 'mmkd.MHKD'
        else distiller.networks.teacher_stages.values()
    )
    (feature,) = distiller.teacher.run_to([end], distiller.teacher_inputs(inputs))
    torch.testing.assert_close(feature[0], outputs[1], rtol=1e-4, atol=1e-5)
