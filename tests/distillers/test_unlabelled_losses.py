"""The value of each loss term when unlabelled images come beside labelled ones."""

import pytest
import torch

from mmkd.unlabelled.batches import Batch
from tests.distillers.test_mhkd_training import cross_entropy, soft

UNLABELLED = dict(
    batch_size=5,
    num_workers=0,
    collate_fn=dict(type='default_collate'),
    dataset=dict(
        type='mmkd.Digits',
        split='test',  # other images
        indices=30,
        pipeline=[
            dict(type='Resize', scale=16),
            dict(type='RandomCrop', crop_size=16, padding=2),
            dict(type='PackInputs'),
        ],
    ),
)
HEADS = dict(type='mmkd.AuxiliaryHead', width=8)


@pytest.fixture
def prepared(distil):
    """A distiller in one of its phases, in evaluation mode, and two batches; the second has no labels."""

    def make(model: dict, phase: int = -1, hook: dict | None = None):
        runner = distil(model=model, hook=hook, unlabelled_dataloader=UNLABELLED)
        runner._train_loop = runner.build_train_loop(runner._train_loop)
        schedule = next(hook for hook in runner.hooks if type(hook).__name__ == 'StageScheduleHook')
        schedule.before_run(runner)
        distiller = runner.model
        distiller.enter(schedule.schedule.phases[phase])
        distiller.eval()
        torch.manual_seed(3)
        labelled = distiller.data_preprocessor(next(iter(runner.train_dataloader)), False)
        assert schedule.unlabelled.hand_over(distiller.current) == 5
        for sample in distiller.unlabelled.data_samples:  # a loss that reads labels raises
            sample.pop('gt_label')
        return distiller, Batch(labelled['inputs'], labelled['data_samples']), distiller.unlabelled

    return make


def losses_of(distiller, labelled: Batch, unlabelled: Batch | None) -> dict[str, float]:
    distiller.unlabelled = unlabelled
    with torch.no_grad():
        losses = distiller(labelled.inputs, labelled.data_samples, mode='loss')
    return {name: value.item() for name, value in losses.items()}


def scores_of(network, inputs):
    with torch.no_grad():
        return network(inputs, mode='tensor').double().numpy()


def test_kd_softens_all_images_and_knows_the_labels_of_some(prepared):
    distiller, labelled, unlabelled = prepared(dict(type='mmkd.KD', gamma=0.3, alpha=0.6))
    images = torch.cat([labelled.inputs, unlabelled.inputs])
    own, theirs = scores_of(distiller.student, images), scores_of(distiller.teacher.network, images)
    labels = [int(sample.gt_label) for sample in labelled.data_samples]
    assert losses_of(distiller, labelled, unlabelled) == pytest.approx(
        dict(loss_own=0.3 * cross_entropy(own[:16], labels), loss_soft=0.6 * soft(own, theirs)), rel=1e-3
    )


@pytest.mark.parametrize('options', [{}, dict(alpha=0), dict(target='final'), dict(soft_until=0)])
def test_mhkd_s_soft_terms_are_the_mean_over_all_images(prepared, options):
    distiller, labelled, unlabelled = prepared(dict(type='mmkd.MHKD', heads=HEADS, **options))
    found = losses_of(distiller, labelled, unlabelled)
    alone = losses_of(distiller, labelled, None)
    for sample, known in zip(unlabelled.data_samples, labelled.data_samples):
        sample.set_gt_label(known.gt_label)
    more = losses_of(distiller, unlabelled, None)
    expected = {name: (16 * alone[name] + 5 * more[name]) / 21 if 'soft' in name else alone[name] for name in alone}
    assert found == pytest.approx(expected, rel=1e-4)
    assert any('own' in name for name in found)


def test_a_stage_mimics_in_one_batch(prepared):
    distiller, labelled, unlabelled = prepared(
        dict(type='mmkd.SSKD'), 1, dict(stages=['layer1', ['layer2', 'layer3'], 'head'])
    )
    both = Batch(torch.cat([labelled.inputs, unlabelled.inputs]), None)
    found = losses_of(distiller, labelled, unlabelled)
    assert found == pytest.approx(losses_of(distiller, both, None), rel=1e-5)
    assert set(found) == {'loss_mimic_layer2', 'loss_mimic_layer3'}


def test_batch_norm_sees_a_stage_s_images_once(prepared):
    distiller, labelled, unlabelled = prepared(dict(type='mmkd.SSKD'), 0)
    norm = distiller.student.backbone.layer1[0].norm1
    distiller.train()
    before = norm.num_batches_tracked.item()
    losses_of(distiller, labelled, unlabelled)
    assert norm.num_batches_tracked.item() == before + 1


@pytest.mark.parametrize('method', ['FeatureKD', 'SSKD'])
def test_features_beside_the_student_s_own_loss(prepared, method):
    distiller, labelled, unlabelled = prepared(
        dict(type=f'mmkd.{method}', places=['layer2', 'layer4'], weight=0.7), hook=dict(unfreeze_last=None)
    )
    found = losses_of(distiller, labelled, unlabelled)
    alone, more = losses_of(distiller, labelled, None), None
    with torch.no_grad():
        more = distiller.loss_without_labels(unlabelled.inputs, None)
    assert set(more) == {'loss_mimic_layer2', 'loss_mimic_layer4'}
    expected = {
        name: (16 * alone[name] + 5 * more[name].item()) / 21 if name in more else alone[name] for name in alone
    }
    assert found == pytest.approx(expected, rel=1e-5)
    assert len(expected) == 3


def test_what_an_adapter_fits_to_the_second_batch_leaves_the_first_one_s_gradient(prepared):
    distiller, labelled, unlabelled = prepared(dict(type='mmkd.FeatureKD'))
    distiller.train()
    distiller.unlabelled = unlabelled
    sum(distiller(labelled.inputs, labelled.data_samples, mode='loss').values()).backward()
    assert distiller.student.backbone.layer1[0].conv1.weight.grad.abs().sum() > 0


def test_which_phases_learn_from_images(prepared):
    sskd, *_ = prepared(dict(type='mmkd.SSKD'), 0)
    phases = ('layer1',), ('head',), ('layer4', 'head')
    assert [sskd.learns_from_images(phase) for phase in phases] == [True, False, True]
    labels_alone, *_ = prepared(dict(type='mmkd.SSKD', weight=0), 0)
    assert [labels_alone.learns_from_images(phase) for phase in phases] == [True, False, False]
    mhkd, *_ = prepared(dict(type='mmkd.MHKD', heads=HEADS), 0, dict(stages=['layer1', 'teacher_heads', 'head']))
    assert [mhkd.learns_from_images(phase) for phase in (('layer1',), ('teacher_heads',), ('head',))] == [
        True,
        False,
        True,
    ]


def test_sskd_s_soft_targets_beside_its_features(prepared):
    options = dict(type='mmkd.SSKD', places=['layer2'], weight=0.7)
    hook = dict(stages=['layer1', ['layer2', 'layer3', 'layer4', 'head']])
    distiller, labelled, unlabelled = prepared(dict(options, alpha=0.6), hook=hook)
    images = torch.cat([labelled.inputs, unlabelled.inputs])
    expected_soft = 0.6 * soft(scores_of(distiller.student, images), scores_of(distiller.teacher.network, images))
    found = losses_of(distiller, labelled, unlabelled)
    assert found.pop('loss_soft') == pytest.approx(expected_soft, rel=1e-3)
    without, *_ = prepared(options, hook=hook)
    without.load_state_dict(distiller.state_dict())
    expected = losses_of(without, labelled, unlabelled)
    assert list(found) == ['loss_own', 'loss_mimic_layer2']
    assert found['loss_own'] == pytest.approx(expected['loss_own'], rel=1e-5)
    assert found['loss_mimic_layer2'] == pytest.approx(expected['loss_mimic_layer2'], rel=1e-5)
    assert set(losses_of(*prepared(dict(options, alpha=0.6), 0, hook)[:2], None)) == {'loss_mimic_layer1'}
