"""Losses of other methods in SSKD, KD and MHKD: what they learn, which inputs they get, what is refused."""

import copy

import pytest
import torch

from mmkd.errors import UserError
from mmkd.objectives.networks import TrainingSet
from tests.distillers.test_sskd_training import bytes_of

SHORT = dict(stages=['layer1', 'all'], lengths=[2, 6], score_teacher=False)


def begun(runner, phase=0):
    """Begin a phase of the distiller with its hook, before the first iteration."""
    runner._train_loop = runner.build_train_loop(runner._train_loop)
    runner.optim_wrapper = runner.build_optim_wrapper(runner.optim_wrapper)
    schedule = next(hook for hook in runner.hooks if type(hook).__name__ == 'StageScheduleHook')
    schedule.before_run(runner)
    schedule._enter(runner, phase)
    model = runner.model.train()
    return model, model.data_preprocessor(next(iter(runner.train_dataloader)), True)


@pytest.mark.parametrize(
    ('phase', 'options', 'part'),
    [
        (0, dict(mimic_loss=dict(type='mmkd.MGDLoss')), 'layer1_loss'),
        (0, dict(stage_losses=dict(layer1=dict(type='mmkd.FitNetLoss'))), 'layer1_loss'),
        (1, dict(feature_loss=dict(type='mmkd.VIDLoss'), places=['layer2', 'layer4']), 'feature_loss'),
        (1, dict(feature_loss=dict(type='mmkd.ReviewKDLoss')), 'feature_loss'),
    ],
    ids=['a stage', 'one stage', 'beside the labels', 'all places at once'],
)
def test_parameters_of_a_loss_exist_before_the_optimizer_and_learn(distil, phase, options, part):
    model, _ = begun(runner := distil(hook=SHORT, model=options), phase)
    learned = list(model.extras[part].parameters())
    assert learned
    group = {id(parameter) for parameter in runner.optim_wrapper.param_groups[-1]['params']}
    assert {id(parameter) for parameter in learned} <= group
    before = [parameter.detach().clone() for parameter in learned]
    model.train_step(next(iter(runner.train_dataloader)), runner.optim_wrapper)
    assert any(not torch.equal(old, new) for old, new in zip(before, learned))
    assert not any(part in name for name in model.state_dict())


def test_a_loss_with_parameters_resumes_byte_for_byte(distil, tmp_path):
    options = dict(mimic_loss=dict(type='mmkd.VIDLoss'), feature_loss=dict(type='mmkd.FitNetLoss', loss_weight=0.1))
    changes = {'optim_wrapper.clip_grad': dict(max_norm=3.0)}
    whole = distil('whole', SHORT, options, **changes)
    whole.train()
    path = str(tmp_path / 'whole' / 'epoch_4.pth')
    resumed = distil('resumed', SHORT, options, resume=True, load_from=path, **changes)
    resumed.train()
    for network in ('student', 'extras'):
        assert bytes_of(getattr(resumed.model, network)) == bytes_of(getattr(whole.model, network))


@pytest.mark.parametrize('kind', ['DKDLoss', 'WSLDLoss'])
def test_kd_gives_a_loss_its_labels(distil, kind):
    model, data = begun(
        distil(hook=dict(score_teacher=False), model=dict(type='mmkd.KD', soft_loss=dict(type=f'mmkd.{kind}')))
    )
    model.eval()
    losses = model.loss(**data)
    own, theirs = (
        network(inputs, mode='tensor')
        for network, inputs in (
            (model.student, data['inputs']),
            (model.teacher.network, model.teacher_inputs(data['inputs'])),
        )
    )
    labels = torch.cat([sample.gt_label for sample in data['data_samples']])
    torch.testing.assert_close(losses['loss_soft'], 0.9 * model.soft_targets.loss(own, theirs, labels=labels))
    assert not model.learns_from_images(model.current)
    with pytest.raises(KeyError):
        model.loss_without_labels(**data)['loss_soft']


def test_mhkd_gives_its_heads_loss_the_labels_too(distil):
    options = dict(type='mmkd.MHKD', soft_loss=dict(type='mmkd.DKDLoss'), attach=['layer1'], ce_share=0.25)
    model, data = begun(distil(hook=dict(score_teacher=False), model=options))
    assert {'loss_soft', 'loss_soft_layer1', 'loss_own_layer1'} <= set(model.loss(**data))
    assert not model.learns_from_images(model.current)


@pytest.mark.parametrize(
    ('model', 'said'),
    [
        (
            dict(mimic_loss=dict(type='mmkd.CRDLoss')),
            r'mimic_loss: CRDLoss needs indices and labels and samples, and a',
        ),
        (dict(mimic_loss=dict(type='mmkd.FGDLoss')), r'mimic_loss: FGDLoss needs boxes and image_sizes, and a stage'),
        (dict(stage_losses=dict(layer1=dict(type='mmkd.SRRLLoss'))), r'stage_losses\.layer1: SRRLLoss needs teacher'),
        (dict(mimic_loss=dict(type='mmkd.FSPLoss')), r'mimic_loss: FSPLoss: it compares what lies between places'),
        (dict(feature_loss=dict(type='mmkd.FGDLoss')), r'feature_loss: FGDLoss needs boxes, and the samples of train'),
        (dict(feature_loss=dict(type='mmkd.OFDLoss')), r"feature_loss: OFDLoss: the teacher's feature must come out"),
        (dict(type='mmkd.KD', soft_loss=dict(type='mmkd.LDLoss')), r'soft_loss: LDLoss needs weights and divisor, '),
    ],
)
def test_what_a_loss_is_not_given_is_said_before_the_training(distil, model, said):
    with pytest.raises(UserError, match=f'^model.{said}'):
        begun(distil(hook=None if model.get('type') else SHORT, model=model))


def test_labels_that_are_mixed_or_missing_are_refused(distil):
    mixed = dict(augments=[dict(type='Mixup', alpha=0.8)])
    runner = distil(hook=dict(score_teacher=False), model=dict(type='mmkd.KD', soft_loss=dict(type='mmkd.DKDLoss')))
    networks, term = runner.model.networks, runner.model.soft_targets
    samples = begun(runner)[1]['data_samples']
    without = copy.deepcopy(samples)
    without[1].pop('gt_label')
    networks.training_set = TrainingSet(9, without)
    with pytest.raises(UserError, match=r'^model.soft_loss: DKDLoss needs labels, and .* have no gt_label; '):
        term.prepare(None)
    networks.training_set = TrainingSet(9, samples)
    from mmpretrain.models.utils import RandomBatchAugment

    networks.preprocessor.batch_augments = RandomBatchAugment(**mixed)
    with pytest.raises(UserError, match=r'^model.soft_loss: DKDLoss needs one label .* mixes them \(Mixup\)'):
        term.prepare(None)
