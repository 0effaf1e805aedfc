"""Named terms of FeatureKD: how far networks run, what is summed, what is refused."""

import copy

import pytest
from mmengine.config import Config
from mmengine.runner import Runner

from mmkd.cli.class_checks import check_own_parts
from mmkd.errors import UserError
from mmkd.objectives.term_options import When
from tests.distillers.test_feature_kd_training import bytes_of, train
from tests.distillers.test_losses_of_other_methods import begun

AT = dict(type='mmkd.ATLoss')
SOFT = dict(loss=dict(type='mmkd.SoftTargetLoss'), places='scores')
TERMS = dict(
    attention=dict(loss=AT, places=['layer1', -2], weight=0.5),
    relations=dict(loss=dict(type='mmkd.RKDLoss'), places=['embedding']),
    flow=dict(loss=dict(type='mmkd.FSPLoss'), places=['layer1', ('layer2.0.bn2', 'layer3')]),
    hint=dict(loss=dict(type='mmkd.FitNetLoss'), places=['layer2'], until=0.5),
    soft=dict(loss=dict(type='mmkd.DKDLoss'), places='scores', warm_up=0.5),
)
LOGGED = {'attention_layer1', 'attention_layer3', 'relations', 'flow', 'hint', 'soft'}
ONE_PHASE = dict(score_teacher=False)


def feature_kd(**terms):
    return dict(type='mmkd.FeatureKD', terms=terms)


def weighing(weight, terms=TERMS):
    return {name: dict(term, weight=weight) for name, term in terms.items()}


def test_with_all_weights_0_it_is_the_plain_run_bit_for_bit(distil, plain, tmp_path):
    cfg = copy.deepcopy(plain)
    cfg.update(work_dir=str(tmp_path / 'plain'), experiment_name=f'{tmp_path.name}_plain')
    alone = Runner.from_cfg(cfg)
    expected = train(alone)
    distilled = distil('distilled', model=feature_kd(**weighing(0)), hook=ONE_PHASE)
    assert train(distilled) == expected
    assert bytes_of(distilled.model.student) == bytes_of(alone.model)


def test_all_terms_are_summed_each_in_its_part_of_the_phase(distil):
    model, data = begun(distil(hook=ONE_PHASE, model=feature_kd(**TERMS)))
    model.progress = 0.25
    assert {name.removeprefix('loss_term_') for name in model.loss(**data)} == LOGGED | {'loss_own'}
    model.eval()
    half = model.loss(**data)['loss_term_soft'].item()
    model.progress = 0.5
    later = model.loss(**data)
    assert later['loss_term_soft'].item() == pytest.approx(2 * half)
    assert 'loss_term_hint' not in later
    assert later['loss_idle'] == 0
    without = model.loss_without_labels(**data)
    assert {name.removeprefix('loss_term_') for name in without} == LOGGED - {'hint', 'soft'}


def test_before_the_labels_terms_alone_teach_and_the_student_runs_no_further(distil):
    term = dict(loss=AT, places=['layer2'], until=dict(epochs=3))
    model, data = begun(distil(hook=ONE_PHASE, model=dict(feature_kd(hint=term), labels_from=dict(epochs=2))))
    ran = []
    model.student.backbone.layer3.register_forward_hook(lambda *_: ran.append('layer3'))
    model.progress = 0.125
    first = model.loss(**data)
    assert set(first) == {'loss_term_hint', 'loss_idle'}
    assert not ran
    sum(first.values()).backward()
    assert all(parameter.grad is not None for parameter in model.student.parameters())
    assert not model.student.head.fc.weight.grad.any()
    graphs = model.objective(model.current).choices(model.current, 0.125)
    model.progress = 0.25
    assert set(model.loss(**data)) == {'loss_own', 'loss_term_hint'}
    assert ran
    assert graphs != model.objective(model.current).choices(model.current, 0.25)


@pytest.mark.parametrize('start', [2, dict(epochs=9), 'late'])
def test_a_start_of_the_labels_that_there_is_not_is_refused(distil, start):
    with pytest.raises(UserError, match=r'^model\.labels_from'):
        begun(distil(hook=ONE_PHASE, model=dict(feature_kd(hint=dict(loss=AT)), labels_from=start)))


def test_the_teacher_runs_as_far_as_the_furthest_place_and_not_at_all_while_its_terms_are_off(distil):
    late = dict(loss=AT, places=['layer4'], until=0.5)
    early = dict(loss=AT, places=['layer2'], until=0.75)
    off = dict(loss=dict(type='mmkd.SoftTargetLoss'), places='scores', weight=0)
    model, data = begun(distil(hook=ONE_PHASE, model=feature_kd(late=late, early=early, off=off)))
    network, ran = model.teacher.network, []
    for name in ('conv1', 'layer2', 'layer3', 'layer4'):
        network.backbone.get_submodule(name).register_forward_hook(lambda *_, name=name: ran.append(name))
    network.head.register_forward_hook(lambda *_: ran.append('head'))
    for progress, expected in ((0.0, ['conv1', 'layer2', 'layer3', 'layer4']), (0.5, ['conv1', 'layer2']), (0.75, [])):
        ran.clear()
        model.progress = progress
        model.loss(**data)
        assert ran == expected


def test_when_a_term_acts():
    assert [When(0.5, 0.75).share(progress) for progress in (0, 0.25, 0.5, 0.75)] == [0, 0.5, 1, 0]
    assert When().share(0) == When().share(0.99) == 1
    in_epochs = When(dict(epochs=3), dict(epochs=6))
    assert in_epochs.in_parts('key', 12) == When(0.25, 0.5)
    assert When(0.25, dict(epochs=2.5)).in_parts('key', 5) == When(0.25, 0.5)
    assert When(dict(epochs=3)).in_parts('key', 7).share(12 / 28) == 1  # of 4 iterations an epoch


def test_epochs_are_those_of_the_phase(distil):
    hook = dict(stages=['layer1', 'all'], lengths=[3, 5], score_teacher=False)
    term = dict(loss=AT, warm_up=dict(epochs=1), until=dict(epochs=2))
    model, data = begun(distil(hook=hook, model=feature_kd(hint=term, soft=dict(SOFT, until=dict(epochs=1)))), 1)
    assert model.terms['hint'].when == When(0.2, 0.4)
    assert model.terms['soft'].when == When(0.0, 0.2)
    model.progress = 0.2
    assert 'loss_term_soft' not in model.loss(**data)


@pytest.mark.parametrize(
    ('epochs', 'loop', 'said'),
    [
        (9, None, 'hint.until: 9 epochs are more than the 8 of the phase; take fewer, or leave it out'),
        (2, dict(type='IterBasedTrainLoop', max_iters=4), 'hint.until: the training counts iterations, no epochs; '),
    ],
)
def test_epochs_that_there_are_not_are_refused(distil, epochs, loop, said):
    changes = {'train_cfg': loop} if loop else {}
    runner = distil(hook=ONE_PHASE, model=feature_kd(hint=dict(loss=AT, until=dict(epochs=epochs))), **changes)
    with pytest.raises(UserError, match=f'^model.terms.{said}'):
        begun(runner)


@pytest.mark.parametrize(
    ('term', 'said'),
    [
        (dict(loss=AT, places=['layer5']), r'hint.places, student: .*layer5.*'),
        (dict(loss=AT, places=[9]), r'hint.places: there is no stage 9; the student has 4'),
        (dict(loss=AT, places='layer4'), r"hint.places: it must be 'scores' or a list of places"),
        (dict(loss=AT, places=['layer4', 'scores']), r"hint.places: 'scores' stands alone"),
        (dict(loss=AT, places=['layer4', 'layer4']), r'hint.places: .* names a place twice'),
        (dict(loss=AT, weight=-1), r'hint.weight must be a finite number of 0 or more, not -1'),
        (dict(loss=AT, warm_up=2), r'hint.warm_up must be a number from 0 to 1, not 2'),
        (dict(loss=AT, until=dict(epoch=2)), r"hint.until: it must be a part of the phase, .* not {'epoch': 2}"),
        (dict(loss=AT, warm_up=dict(epochs=-2)), r'hint.warm_up.epochs must be a finite number of 0 or more, not -2'),
        (dict(loss=AT, adapt='yes'), r"hint.adapt: it must be True or False, or be left out, not 'yes'"),
        (dict(loss=AT, weights=1), r'hint.weights: a term takes no weights. Did you mean weight'),
        (dict(places=['layer4']), r'hint: it has no loss'),
        (dict(loss='mmkd.ATLoss'), r'hint.loss: it must be a loss such as'),
        (
            dict(loss=dict(type='mmkd.PKDLoss'), places=['layer4'], adapt=False),
            r'hint.loss: PKDLoss: .* differ; an adapter .* as adapt=True of a',
        ),
        (dict(loss=dict(type='mmkd.LDLoss'), places=['layer4']), r'hint.loss: LDLoss needs weights and divisor'),
        (
            dict(loss=dict(type='mmkd.LDLoss'), places='boxes'),
            r"hint.places: 'boxes' is what a dense head of a detector",
        ),
        (dict(loss=AT, places='boxs'), r"hint.places: it must be 'scores' or a list of places .* Did you mean boxes"),
        (dict(loss=AT, own_convs=1), r"hint.own_convs: it belongs to places that begin with 'cross_'"),
        (dict(loss=dict(type='mmkd.ClassScoreLoss'), places='scores'), r'hint.loss: ClassScoreLoss: it compares the'),
        (dict(loss=dict(type='mmkd.CRDLoss'), places=['embedding']), r'hint.loss: CRDLoss: negatives is 16,384, but'),
        (dict(loss=dict(type='mmkd.FGDLoss'), places=['layer4']), r'hint.loss: FGDLoss needs boxes, and the samples'),
    ],
)
def test_what_is_wrong_with_a_term_is_said_before_the_training(distil, term, said):
    with pytest.raises(UserError, match=f'^model.terms.{said}') as error:
        begun(distil(hook=ONE_PHASE, model=feature_kd(hint=term)))
    assert str(error.value).count('Did you mean') <= 1


def test_a_data_set_without_indices_gets_none_for_crd(distil):
    pipeline = [dict(type='Resize', scale=16), dict(type='PackInputs', meta_keys=())]
    crd = dict(loss=dict(type='mmkd.CRDLoss', negatives=8), places=['embedding'])
    runner = distil(hook=ONE_PHASE, model=feature_kd(hint=crd), **{'train_dataloader.dataset.pipeline': pipeline})
    with pytest.raises(
        UserError, match=r'^model.terms.hint.loss: CRDLoss needs indices, and the samples .* sample_idx'
    ):
        begun(runner)


def test_crd_is_refused_where_several_data_sets_count_from_0(distil, plain):
    one = plain.train_dataloader.dataset.to_dict()
    crd = dict(loss=dict(type='mmkd.CRDLoss', negatives=8), places=['embedding'])
    for wrapped in (False, True):
        joined = dict(type='ConcatDataset', datasets=[one, one])
        joined = dict(type='RepeatDataset', times=2, dataset=joined) if wrapped else joined
        runner = distil(f'{wrapped}', ONE_PHASE, feature_kd(hint=crd), **{'train_dataloader.dataset': joined})
        with pytest.raises(UserError, match=r'^model.terms.hint.loss: CRDLoss needs each .* joins several data sets'):
            begun(runner)
    repeated = dict(type='RepeatDataset', times=2, dataset=one)
    model, data = begun(distil('one', ONE_PHASE, feature_kd(hint=crd), **{'train_dataloader.dataset': repeated}))
    assert {sample.sample_idx for sample in data['data_samples']} <= set(range(64))
    assert model.loss(**data)['loss_term_hint'].isfinite()


def test_a_mimic_loss_without_mimicking_is_refused(distil):
    model = dict(feature_kd(hint=dict(loss=AT)), mimic_loss=dict(type='mmkd.FeatureMimicLoss'))
    with pytest.raises(UserError, match=r'^model\.mimic_loss: no phase of the schedule computes it'):
        begun(distil(hook=ONE_PHASE, model=model))


@pytest.mark.parametrize(
    ('loss', 'said'),
    [
        (dict(type='mmkd.ATLos'), r'model.terms.hint.loss.type: mmkd has no ATLos. Did you mean mmkd.ATLoss'),
        (dict(type='mmkd.ATLoss', power=2), r'model.terms.hint.loss.power: ATLoss takes no power'),
    ],
)
def test_an_unknown_loss_or_argument(loss, said):
    cfg = Config(dict(model=dict(student={}, teacher={}, **feature_kd(hint=dict(loss=loss)))))
    with pytest.raises(UserError, match=f'^{said}'):
        check_own_parts(cfg)


def test_terms_resume_byte_for_byte_after_stages(distil, tmp_path):
    """Two epochs into the phase: while weights grow, and before a term stops."""
    hook = dict(stages=[['layer1', 'layer2'], 'all'], lengths=[3, 5], score_teacher=False)
    warming = dict(TERMS['soft'], warm_up=dict(epochs=4))
    terms = {**TERMS, 'soft': warming, 'relations': dict(TERMS['relations'], until=dict(epochs=3))}
    whole = distil('whole', hook, feature_kd(**terms))
    whole.train()
    path = str(tmp_path / 'whole' / 'epoch_5.pth')
    resumed = distil('resumed', hook, feature_kd(**terms), resume=True, load_from=path)
    resumed.train()
    for network in ('student', 'extras'):
        assert bytes_of(getattr(resumed.model, network)) == bytes_of(getattr(whole.model, network))
