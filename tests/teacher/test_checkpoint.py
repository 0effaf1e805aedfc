import logging
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.hooks import EMAHook
from mmengine.runner import load_checkpoint
from torch import nn

from mmkd.errors import UserError
from mmkd.teacher.checkpoint import Whose, check_start, load_checked
from mmkd.teacher.network import Teacher
from tests.teacher.networks import RUNNING, config, fails, network, same


@pytest.mark.parametrize('form', ['state_dict', 'bare', 'module.', 'ema'])
def test_forms_of_checkpoints(form, trained, tmp_path):
    _, state = trained
    prefix = 'module.' if form == 'module.' else ''
    content = {prefix + name: value for name, value in state.items()}
    if form != 'bare':
        content = dict(state_dict=content, optimizer={}, message_hub=dict(scalars=np.zeros(3)))
    if form == 'ema':  # mmengine saves averaged weights as state_dict, in place of the plain ones
        assert '_swap_ema_state_dict' in vars(EMAHook)
        content['ema_state_dict'] = {f'module.{name}': torch.zeros_like(value) for name, value in state.items()}
    torch.save(content, tmp_path / 'form.pth')
    assert same(Teacher(config(), str(tmp_path / 'form.pth'), RUNNING).network, state)


def test_home_folder(trained, tmp_path, monkeypatch):
    monkeypatch.setenv('HOME', str(tmp_path))
    assert same(Teacher(config(), '~/r18.pth', RUNNING).network, trained[1])
    assert 'Did you mean r18.pth?' in fails(Teacher, config(), '~/r19.pth', RUNNING)


def save(path, state):
    torch.save(dict(state_dict=state), path)
    return str(path)


def test_missing_weights_are_refused(trained, tmp_path):
    _, state = trained
    del state['backbone.conv1.weight'], state['backbone.layer1.0.bn1.running_mean'], state['head.fc.bias']
    path = save(tmp_path / 'part.pth', state)
    assert fails(Teacher, config(), path, RUNNING) == (
        f'model.teacher.checkpoint: {path} does not fit the teacher: backbone.conv1.weight (missing), '
        'backbone.layer1.0.bn1.running_mean (missing). Name the checkpoint that model.teacher.config trained.'
    )


@pytest.mark.parametrize('number', [float('nan'), float('inf'), float('-inf')])
def test_weights_that_are_no_numbers_are_refused(number, trained, tmp_path):
    _, state = trained
    state['backbone.layer2.0.conv1.weight'][0, 1, 2, 0] = state['backbone.layer1.0.bn1.running_var'][3] = number
    path = save(tmp_path / 'diverged.pth', state)
    assert fails(Teacher, config(), path, RUNNING) == (
        f'model.teacher.checkpoint: {path} holds NaN or infinite numbers in backbone.layer1.0.bn1.running_var, '
        'backbone.layer2.0.conv1.weight: its training diverged. Name another one.'
    )


@pytest.mark.parametrize(
    ('content', 'cure'),
    [
        (
            lambda state: {f'_orig_mod.{name}': value for name, value in state.items()},
            "Its names begin with '_orig_mod.'",
        ),
        (lambda state: {f'module.a.b.{name}': value for name, value in state.items()}, "Its names begin with 'a.b.'"),
        (lambda state: dict(epoch=3, model=dict(state)), "Its weights are under 'model'"),
        (lambda state: {f'a.{name}': value[:1] for name, value in state.items() if value.ndim}, 'Name the checkpoint'),
    ],
)
def test_weights_that_only_their_names_keep_from_fitting(content, cure, trained, tmp_path):
    torch.save(content(trained[1]), tmp_path / 'other.pth')
    said = fails(Teacher, config(), str(tmp_path / 'other.pth'), RUNNING)
    assert 'backbone.conv1.weight (missing)' in said
    assert cure in said


def test_arrays_instead_of_tensors_are_told_shortly(trained, tmp_path):
    path = save(tmp_path / 'arrays.pth', {name: value.numpy() for name, value in trained[1].items()})
    said = fails(Teacher, config(), path, RUNNING)
    assert 'does not fit the teacher: backbone.conv1.weight (no tensor), ' in said
    assert len(said) < 500


def test_counters_of_batches_may_be_missing(trained, tmp_path, logged):
    _, state = trained  # with the version that requires them
    for name in [name for name in state if 'num_batches_tracked' in name]:
        del state[name]
    Teacher(config(), save(tmp_path / 'old.pth', state), RUNNING)
    assert len(logged) == 1


def test_other_shapes_are_refused(trained):
    sentence = fails(Teacher, config(stem_channels=8), trained[0], RUNNING)
    assert 'backbone.conv1.weight ((4, 3, 3, 3) instead of (8, 3, 3, 3)), ' in sentence


@pytest.mark.parametrize(
    ('backbone', 'listed'),
    [
        (config(depth=34)['model']['backbone'], 'backbone.layer1.2.conv1.weight (missing)'),
        (dict(type='VGG', depth=11), 'backbone.features.0.conv.weight (missing)'),
    ],
    ids=['deeper', 'family'],
)
def test_other_architectures_are_refused(backbone, listed, trained):
    teacher = config()
    teacher['model']['backbone'] = backbone
    sentence = fails(Teacher, teacher, trained[0], RUNNING)
    assert listed in sentence
    assert sentence.count('(missing)') == 4
    assert ' more. Name the checkpoint' in sentence


def test_a_deeper_network_s_checkpoint_is_refused(tmp_path):
    path = save(tmp_path / 'r34.pth', network(depth=34).state_dict())
    sentence = fails(Teacher, config(), path, RUNNING)  # it contains all keys of resnet18
    assert 'backbone.layer1.2.conv1.weight (unknown)' in sentence


def test_a_head_of_other_classes_is_one_log_line(trained, logged):
    teacher = Teacher(config(classes=7), trained[0], RUNNING)
    assert torch.equal(teacher.network.backbone.conv1.weight, trained[1]['backbone.conv1.weight'])
    assert logged == [
        (
            logging.INFO,
            f'Teacher loaded from {trained[0]}: {len(trained[1]) - 2} tensors; not loaded, in parts that never run: '
            'head.fc.weight ((10, 32) instead of (7, 32)), head.fc.bias ((10,) instead of (7,))',
        )
    ]
    sentence = fails(Teacher, config(classes=7), trained[0], (*RUNNING, 'head'))
    assert 'head.fc.weight ((10, 32) instead of (7, 32))' in sentence


@pytest.mark.parametrize(
    ('lacks', 'whole'),
    [
        ([], True),
        (['head.fc.bias'], False),
        (['head.bn.num_batches_tracked'], True),
        (['head.bn.running_mean'], False),
    ],
)
def test_remembers_whether_all_of_it_was_loaded(lacks, whole, tmp_path):
    network = nn.ModuleDict(dict(backbone=nn.Linear(1, 1), head=nn.ModuleDict()))
    network['head'].update(dict(fc=nn.Linear(1, 1), bn=nn.BatchNorm2d(1)))
    state = {name: value for name, value in network.state_dict().items() if name not in lacks}
    assert load_checked(network, save(tmp_path / 'some.pth', dict(state, more=torch.ones(1))), RUNNING) == (whole, ())


def test_the_teacher_knows_whether_all_of_it_was_loaded(trained):
    assert Teacher(config(), trained[0], RUNNING).whole is True
    assert Teacher(config(classes=7), trained[0], RUNNING).whole is False
    assert Teacher(config(), None, RUNNING).whole is False


def test_a_table_of_indices_more_does_no_harm(trained, tmp_path, logged):
    state = dict(trained[1], **{'backbone.relative_position_index': torch.zeros(4, dtype=torch.long)})
    Teacher(config(), save(tmp_path / 'old.pth', state), RUNNING)
    assert 'backbone.relative_position_index (unknown)' in logged[0][1]


def test_what_the_network_itself_adapts_is_accepted(tmp_path):
    def vit(side):
        arch = dict(embed_dims=8, num_layers=2, num_heads=2, feedforward_channels=16)
        backbone = dict(type='VisionTransformer', arch=arch, img_size=side, patch_size=8)
        head = dict(type='VisionTransformerClsHead', num_classes=10, in_channels=8)
        model = dict(type='ImageClassifier', backbone=backbone, head=head)
        return dict(default_scope='mmpretrain', model=model)

    path = save(tmp_path / 'vit.pth', Teacher(vit(32), None, RUNNING).network.state_dict())
    teacher, plain = Teacher(vit(64), path, RUNNING), Teacher(vit(64), None, RUNNING)
    load_checkpoint(plain.network, path)
    assert same(teacher.network, plain.network.state_dict())


def test_versions_reach_the_network_s_own_hooks(trained, tmp_path):
    class Versioned(nn.Module):
        _version = 2

        def _load_from_state_dict(self, state_dict, prefix, local_metadata, *args):
            self.loaded = local_metadata.get('version')

    holder = nn.Module()
    holder.backbone = Versioned()
    load_checked(holder, save(tmp_path / 'v.pth', holder.state_dict()), RUNNING)
    assert holder.backbone.loaded == 2


def test_an_error_in_loading_is_told(tmp_path):
    class Picky(nn.Module):
        def _load_from_state_dict(self, state_dict, prefix, local_metadata, strict, missing, unexpected, errors):
            errors.append('no way')

    holder = nn.Module()
    holder.backbone = Picky()
    assert 'no way' in fails(load_checked, holder, save(tmp_path / 'v.pth', {}), RUNNING)


@pytest.mark.parametrize('damage', ['truncated', 'text', 'empty', 'folder', 'list', 'tensor', 'no dict inside'])
def test_unreadable_files_are_refused(damage, trained, tmp_path):
    file = tmp_path / 'broken.pth'
    if damage == 'truncated':
        with open(trained[0], 'rb') as whole:
            file.write_bytes(whole.read()[:-3000])
    elif damage == 'folder':
        file.mkdir()
    elif damage in ('text', 'empty'):
        file.write_text('<html>404</html>' * (damage == 'text'))
    else:
        torch.save({'list': [1], 'tensor': torch.ones(1), 'no dict inside': dict(state_dict=None)}[damage], file)
    sentence = fails(Teacher, config(), str(file), RUNNING)
    assert sentence.startswith(f'model.teacher.checkpoint: {file} ')
    expected = dict(folder='does not exist', truncated='cannot be read', text='cannot be read', empty='cannot be read')
    assert expected.get(damage, 'holds no state_dict') in sentence


def test_code_in_a_file_does_not_run(tmp_path):
    torch.save(dict(state_dict=dict(), more=SimpleNamespace(a=1)), tmp_path / 'foreign.pth')
    sentence = fails(Teacher, config(), str(tmp_path / 'foreign.pth'), RUNNING)
    assert sentence.startswith(f'model.teacher.checkpoint: {tmp_path}/foreign.pth holds more than weights')
    assert 'types.SimpleNamespace' in sentence


def test_an_absent_file_is_refused_with_the_nearest_name(trained, tmp_path):
    path = tmp_path / 'r_18.pth'
    assert fails(Teacher, config(), str(path), RUNNING) == (
        f'model.teacher.checkpoint: {path} does not exist. Did you mean r18.pth?'
    )


def test_the_names_of_its_classes(tmp_path):
    state = Teacher(config(), None, RUNNING).network.state_dict()
    for meta, classes in (
        (dict(dataset_meta=dict(classes=['a', 'b'])), ('a', 'b')),
        (dict(CLASSES=['a']), ()),
        (None, ()),
    ):
        file = tmp_path / 'named.pth'
        torch.save(dict(state_dict=state, meta=meta), file)
        assert Teacher(config(), str(file), RUNNING).classes == classes


# Weights to start from


def starting(weights, tmp_path, **changes) -> None:
    """Check these weights as a start for a network with changes in its backbone."""
    check_start(network(**changes), save(tmp_path / 'start.pth', weights), Whose('load_from', 'student', 'x.py'))


def test_a_start_that_fits_is_not_spoken_of(trained, tmp_path, logged):
    starting(trained[1], tmp_path)
    starting({f'module.{name}': value for name, value in trained[1].items() if 'num_batches' not in name}, tmp_path)
    assert not any('load_from' in said for _, said in logged)


@pytest.mark.parametrize('weights', ['wider', 'none'])
def test_a_start_of_another_network_is_refused(trained, tmp_path, weights):
    """Though one tensor fits, the bias of its head."""
    changes = dict(stem_channels=8, base_channels=8) if weights == 'wider' else {}
    state = trained[1] if weights == 'wider' else {'head.fc.bias': trained[1]['head.fc.bias']}
    with pytest.raises(
        UserError, match=r'^load_from: .*start\.pth does not fit the student: backbone\.conv1\.weight \('
    ):
        starting(state, tmp_path, **changes)


def test_a_start_without_the_prefix_is_refused(trained, tmp_path):
    state = {name.removeprefix('backbone.'): value for name, value in trained[1].items()}
    with pytest.raises(UserError, match=r"Its names lack the prefix 'backbone\.'"):
        starting(state, tmp_path)


def test_a_start_with_another_head_is_counted(trained, tmp_path, logged):
    _, state = trained
    state['head.fc.bias'] = state['head.fc.bias'][:3]
    del state['head.fc.weight']
    starting(state, tmp_path)
    ((level, said),) = logged[-1:]
    assert level == logging.WARNING
    assert 'start.pth has no tensor of the same name and shape for 2 of the ' in said
    assert said.endswith(' tensors of the student: head.fc.weight (missing), head.fc.bias ((3,) instead of (10,)).')
