"""What a run shows in the Visualizer, whatever its backend."""

import numpy as np
import pytest
import torch

from mmkd.errors import UserError
from mmkd.reporting.run import read_run
from mmkd.watching.drawing import GAP, HEAD, SIDE
from mmkd.watching.feature_maps import FeatureMapsHook
from mmkd.watching.similarity import SimilarityHook
from tests.watching.recorder import RECORDED, recorded

STAGES = dict(stages=['layer1', 'layer2', 'all'], lengths=[1, 1, 2], score_teacher=False)
SHORT = {'train_cfg.max_epochs': 4, 'default_hooks.logger.interval': 1}


def steps(backend, name):
    return [step for step, _ in backend.scalars[name]]


def test_stages_and_their_losses_are_shown_without_any_hook(distil):
    """Epochs of four iterations."""
    runner = distil(hook=STAGES, **SHORT, **RECORDED)
    runner.train()
    shown = recorded(runner)
    assert shown.scalars['stage'] == [(1, 1), (4, 1), (5, 2), (8, 2), (9, 3), (16, 3)]
    assert steps(shown, 'loss_mimic_layer1') == [1, 2, 3, 4, *range(9, 17)]  # in its stage, and beside the labels
    assert steps(shown, 'loss_mimic_layer2') == [5, 6, 7, 8, *range(9, 17)]
    assert (steps(shown, 'val_r2_layer1'), steps(shown, 'val_r2_layer2')) == ([4], [8])
    assert shown.pictures == {}
    assert 'val_cka_layer1' not in shown.scalars


def test_accuracies_of_heads_are_shown(distil):
    runner = distil(
        hook=dict(score_teacher=False, unfreeze_last=None), model=dict(type='mmkd.MHKD'), **SHORT, **RECORDED
    )
    runner.train()
    for whose in ('student', 'teacher'):
        for stage in ('layer1', 'layer3'):
            assert steps(recorded(runner), f'val_{whose}_heads/{stage}') == [4, 8, 12, 16]


@pytest.mark.parametrize('by_epoch', [True, False])
def test_similarity_of_all_stages_from_before_the_training(distil, by_epoch):
    changes = {**SHORT, **RECORDED, 'custom_hooks': [dict(type='mmkd.SimilarityHook', images=20)]}
    if not by_epoch:
        changes['train_cfg'] = dict(by_epoch=False, max_iters=8, val_interval=4)
        changes['param_scheduler'] = None
    runner = distil(hook=dict(STAGES, lengths=[1, 1, 2] if by_epoch else [4, 2, 2]), **changes)
    runner.train()
    shown = recorded(runner)
    wanted = [0, 4, 8, 12, 16] if by_epoch else [0, 4, 8]
    for kind in ('cka', 'cosine'):
        for stage in ('layer1', 'layer2', 'layer3', 'layer4'):
            assert steps(shown, f'val_{kind}_{stage}') == wanted
            assert all(-1 <= value <= 1.001 for _, value in shown.scalars[f'val_{kind}_{stage}'])
    if by_epoch:  # frozen from then on
        after = [value for step, value in shown.scalars['val_cka_layer1'] if 4 <= step <= 8]
        assert after[1] == pytest.approx(after[0], abs=1e-6)
        assert abs(after[0] - shown.scalars['val_cka_layer1'][0][1]) > 1e-5


def test_a_student_that_is_its_teacher_is_like_it(distil, teacher, plain):
    same = dict(teacher, config=dict(teacher['config']))
    runner = distil(
        hook=STAGES,
        model=dict(student=same['config']['model'], teacher=same),
        custom_hooks=[dict(type='mmkd.SimilarityHook', images=20)],
        load_from=teacher['checkpoint'],
        **SHORT,
        **RECORDED,
    )
    runner.train()
    first = {name: values[0][1] for name, values in recorded(runner).scalars.items() if name.startswith('val_c')}
    assert len(first) == 8
    assert min(first.values()) > 0.95, first


def test_pictures_of_features(distil):
    """A row for each of the images: the image, the student's feature, the teacher's."""
    hooks = [dict(type='mmkd.FeatureMapsHook', images=3)]
    runner = distil(hook=STAGES, custom_hooks=hooks, **SHORT, **RECORDED)
    runner.train()
    pictures = recorded(runner).pictures
    assert {name for name, _ in pictures} == {f'features_layer{number}' for number in (1, 2, 3, 4)}
    assert {step for _, step in pictures} == {0, 4, 8, 12, 16}
    first, later = (pictures['features_layer1', step] for step in (0, 4))
    assert (first.shape, first.dtype) == ((HEAD + 3 * (SIDE + GAP), 3 * (SIDE + GAP), 3), np.uint8)
    images, own, theirs = np.split(first, 3, axis=1)
    assert len({row.tobytes() for row in np.split(images[HEAD:], 3)}) == 3
    assert own.tobytes() != theirs.tobytes()
    _, later_own, later_theirs = np.split(later, 3, axis=1)
    assert later_own.tobytes() != own.tobytes()  # the student has learned
    assert later_theirs.tobytes() == theirs.tobytes()  # the teacher has not


def test_looking_changes_nothing(distil, tmp_path):
    both = [dict(type='mmkd.SimilarityHook', images=9), dict(type='mmkd.FeatureMapsHook')]
    states = []
    for name, hooks in (('without', []), ('with', both)):
        distil(name, hook=STAGES, custom_hooks=hooks, **SHORT).train()
        states.append(torch.load(tmp_path / name / 'epoch_4.pth', weights_only=False)['state_dict'])
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(value, states[1][key]) for key, value in states[0].items())
    run = read_run(tmp_path / 'with')  # LocalVisBackend's files
    assert [record['iteration'] for record in run.measures if 'cka_layer3' in record] == [0, 4, 8, 12, 16]
    assert all('stage' not in record for record in run.validation)
    assert len(list(tmp_path.glob('with/*/vis_data/vis_image/features_layer1_*.png'))) == 5


@pytest.mark.parametrize(
    ('hook', 'model', 'changes', 'said'),
    [
        (SimilarityHook, dict(type='mmkd.KD'), {}, 'mmkd.SimilarityHook: it compares stages of both networks, and '),
        (FeatureMapsHook, {}, dict(val_cfg=None, val_dataloader=None, val_evaluator=None), 'needs validation images'),
        (SimilarityHook, {}, {'val_dataloader.dataset.indices': 5}, 'val_dataloader has 5 images, and it needs 8'),
    ],
)
def test_runs_that_cannot_be_watched(distil, hook, model, changes, said):
    runner = distil(
        hook=dict(score_teacher=False), model=model, custom_hooks=[dict(type=f'mmkd.{hook.__name__}')], **changes
    )
    with pytest.raises(UserError, match=said):
        runner.train()


def test_numbers_of_images():
    with pytest.raises(UserError, match=r'mmkd.SimilarityHook: images must be a whole number, 8 or more, not 7.'):
        SimilarityHook(7)
    with pytest.raises(UserError, match=r'1 or more, not \'a\''):
        FeatureMapsHook('a')


def test_tensorboard(distil, tmp_path):
    """Its own files have the same scalars on the same axis, and the pictures."""
    pytest.importorskip('tensorboard')
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    both = [dict(type='mmkd.SimilarityHook', images=9), dict(type='mmkd.FeatureMapsHook', images=2)]
    backends = {'visualizer.vis_backends': [dict(type='TensorboardVisBackend')]}
    distil(hook=STAGES, custom_hooks=both, **SHORT, **backends).train()
    (file,) = tmp_path.rglob('events.out.tfevents*')
    events = EventAccumulator(str(file)).Reload()
    assert [(event.step, event.value) for event in events.Scalars('stage')][-2:] == [(9, 3), (16, 3)]
    assert [event.step for event in events.Scalars('loss_mimic_layer1')] == [1, 2, 3, 4, *range(9, 17)]
    assert [event.step for event in events.Scalars('val_cka_layer2')] == [0, 4, 8, 12, 16]
    assert [(event.step, event.width) for event in events.Images('features_layer1')][-1] == (16, 3 * (SIDE + GAP))
