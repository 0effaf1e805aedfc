import copy
import logging
import random
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmdet.models import DetDataPreprocessor
from mmdet.structures import DetDataSample
from mmengine.config import Config
from mmengine.hooks import EMAHook
from mmengine.model import ImgDataPreprocessor
from mmengine.runner import load_checkpoint
from mmpretrain.models import ClsDataPreprocessor
from mmpretrain.structures import DataSample
from torch import nn

from mmkd.errors import UserError
from mmkd.teacher.network import Renormalise, Teacher, freeze_modes, load_checked
from tests.stage_networks import build

RUNNING = ('backbone', 'neck')
RESNET = 'mmpretrain::resnet/resnet18_8xb16_cifar10.py'


def config(depth=18, classes=10, **backbone):
    backbone = dict(dict(type='ResNet_CIFAR', depth=depth, stem_channels=4, base_channels=4), **backbone)
    head = dict(type='LinearClsHead', num_classes=classes, in_channels=32)
    model = dict(type='ImageClassifier', backbone=backbone, neck=dict(type='GlobalAveragePooling'), head=head)
    return dict(default_scope='mmpretrain', model=model, data_preprocessor=dict(mean=[1, 2, 3], std=[4, 5, 6]))


def network(**kwargs):
    torch.manual_seed(1)
    teacher = Teacher(config(**kwargs), None, RUNNING).network
    for buffer in teacher.buffers():
        if buffer.is_floating_point():
            buffer.uniform_(0.5, 2)
    return teacher


@pytest.fixture
def trained(tmp_path):
    path = tmp_path / 'r18.pth'
    state = network().state_dict()
    torch.save(dict(meta=dict(epoch=3), state_dict=state), path)
    return str(path), state


@pytest.fixture
def logged(monkeypatch):
    """What print_log was given: (level, message)."""
    lines = []
    monkeypatch.setattr(
        'mmkd.teacher.network.print_log', lambda text, logger, level=logging.INFO: lines.append((level, text))
    )
    return lines


def same(network, state):
    own = network.state_dict()
    return own.keys() == state.keys() and all(torch.equal(own[name], state[name]) for name in own)


def fails(build, *args):
    with pytest.raises(UserError) as caught:
        build(*args)
    assert '\n' not in str(caught.value)
    return str(caught.value)


# Building


@pytest.mark.parametrize('how', ['content', 'Config', 'path', 'Path'])
def test_built_from_a_config(how, trained, tmp_path):
    path, state = trained
    if how in ('content', 'Config'):
        source = config() if how == 'content' else Config(config())._cfg_dict
        before = copy.deepcopy(source)
    else:
        file = tmp_path / 'teacher.py'
        file.write_text('\n'.join(f'{key} = {value!r}' for key, value in config().items()))
        source = str(file) if how == 'path' else file
    teacher = Teacher(source, path, RUNNING)
    assert same(teacher.network, state)
    assert teacher.network.data_preprocessor.mean.flatten().tolist() == [1, 2, 3]
    if how in ('content', 'Config'):
        assert source == before, "the config is the user's"


def test_built_from_a_toolbox():
    teacher = Teacher(RESNET, None, RUNNING)
    assert teacher.network.is_init
    assert type(teacher.network.backbone).__name__ == 'ResNet_CIFAR'
    assert teacher.network.data_preprocessor.mean.flatten().tolist() == pytest.approx([125.307, 122.961, 113.8575])


def test_built_from_mmkd():
    teacher = Teacher('mmkd::baselines/resnet18-w16_digits.py', None, RUNNING)
    assert teacher.network.head.num_classes == 10


def test_built_from_another_toolbox():
    from mmengine.registry import DefaultScope

    with DefaultScope.overwrite_default_scope('mmpretrain'):  # the student's
        teacher = Teacher('mmkd::baselines/retinanet_r18-w16_digits-coco.py', None, RUNNING)
        assert DefaultScope.get_current_instance().scope_name == 'mmpretrain'
    assert type(teacher.network).__module__.startswith('mmdet.')
    assert isinstance(teacher.network.data_preprocessor, DetDataPreprocessor)


def test_the_model_keeps_its_own_preprocessor():
    own = config()
    own['model']['data_preprocessor'] = dict(type='ClsDataPreprocessor', mean=[7, 8, 9], std=[1, 1, 1])
    assert Teacher(own, None, RUNNING).network.data_preprocessor.mean.flatten().tolist() == [7, 8, 9]


def test_a_wrong_config_is_refused():
    assert 'has no such config' in fails(Teacher, 'mmpretrain::resnet/resnet99.py', None, RUNNING)
    assert 'does not exist' in fails(Teacher, 'nowhere.py', None, RUNNING)
    assert fails(Teacher, dict(type='ImageClassifier'), None, RUNNING).startswith(
        'model.teacher.config: it has no model'
    )


@pytest.mark.parametrize('divisor', [None, 0, 1.5, 'x'])
def test_a_padding_that_cannot_be(divisor):
    own = config()
    own['data_preprocessor']['pad_size_divisor'] = divisor
    assert fails(Teacher, own, None, RUNNING).startswith(
        'model.teacher.config: its data_preprocessor.pad_size_divisor must be a whole number'
    )


def test_untrained_is_said_loudly(logged):
    Teacher(config(), None, RUNNING)
    assert [level for level, text in logged if 'NOT TRAINED' in text] == [logging.WARNING]


def test_weights_that_its_own_config_names_are_no_lack_of_training(logged, monkeypatch):
    own = config()
    own['model']['backbone']['init_cfg'] = dict(type='Pretrained', checkpoint='weights.pth')
    monkeypatch.setattr('mmengine.model.BaseModule.init_weights', lambda network: None)
    Teacher(own, None, RUNNING)
    assert [text for _, text in logged] == [
        'model.teacher.checkpoint is None: the teacher has the weights that its own config names, and no others.'
    ]


def test_trained_is_logged(trained, logged):
    Teacher(config(), trained[0], RUNNING)
    assert logged == [(logging.INFO, f'Teacher loaded from {trained[0]}: {len(trained[1])} tensors')]


# Frozen, apart, and without a trace


@pytest.mark.parametrize('is_trained', [True, False])
def test_frozen_in_evaluation_mode(is_trained, trained):
    teacher = Teacher(config(), trained[0] if is_trained else None, RUNNING)
    assert not any(parameter.requires_grad for parameter in teacher.network.parameters())
    assert not any(module.training for module in teacher.network.modules())


def test_no_module_tree_reaches_it(trained):
    class Holder(nn.Module):
        def __init__(self):
            super().__init__()
            self.own = nn.Linear(1, 1)
            self.teacher = Teacher(config(), trained[0], RUNNING)

    holder = Holder()
    before = copy.deepcopy(trained[1])
    holder.train()
    holder.requires_grad_(True)
    holder.double()
    holder.apply(lambda module: [nn.init.zeros_(parameter) for parameter in module.parameters()])
    assert same(holder.teacher.network, before)
    assert not any(module.training for module in holder.teacher.network.modules())
    assert not any(parameter.requires_grad for parameter in holder.teacher.network.parameters())
    assert [*holder.state_dict()] == [name for name, _ in holder.named_parameters()] == ['own.weight', 'own.bias']
    copied = copy.deepcopy(holder)
    assert copied.teacher is holder.teacher
    assert copied.own is not holder.own


def test_forward_changes_no_byte(trained):
    teacher = Teacher(config(), trained[0], RUNNING)
    before = copy.deepcopy(teacher.network.state_dict())
    teacher.network.extract_feat(torch.randn(4, 3, 16, 16))
    assert same(teacher.network, before)


def test_modes_are_frozen_past_a_module_s_own_train():
    class Stubborn(nn.Module):
        def __init__(self):
            super().__init__()
            self.drop = nn.Dropout()

        def train(self, mode=True):
            return self

    stubborn = Stubborn()
    freeze_modes(stubborn)
    assert not stubborn.training
    assert not stubborn.drop.training


def test_what_a_module_computes_for_the_evaluation_mode_is_there():
    network, side = build('LeViT')
    network.train()
    freeze_modes(network)
    network.extract_feat(torch.rand(2, 3, side, side))


@pytest.mark.parametrize('is_trained', [True, False])
def test_no_random_number_is_drawn_outside(is_trained, trained):
    def states():
        return torch.get_rng_state().tolist(), str(np.random.get_state()), random.getstate()

    before = states()
    Teacher(config(), trained[0] if is_trained else None, RUNNING)
    assert states() == before


def test_is_turned_as_a_whole():
    teacher = Teacher(config(), None, RUNNING)
    teacher.turn(lambda tensor: tensor.to('meta'))
    assert {parameter.device.type for parameter in teacher.network.parameters()} == {'meta'}


# The checkpoint


@pytest.mark.parametrize('form', ['state_dict', 'bare', 'module.', 'ema'])
def test_forms_of_checkpoints(form, trained, tmp_path):
    _, state = trained
    prefix = 'module.' if form == 'module.' else ''
    content = {prefix + name: value for name, value in state.items()}
    if form != 'bare':
        content = dict(state_dict=content, optimizer={}, message_hub=dict(scalars=np.zeros(3)))
    if form == 'ema':  # where mmengine averages weights, it saves the average as state_dict
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


def test_counters_of_batches_may_be_missing(trained, tmp_path, logged):
    _, state = trained  # with the version that promises them
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
    sentence = fails(Teacher, config(), path, RUNNING)  # which has all that resnet18 wants
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


# Normalisation


IMAGENET = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375])
OTHER = dict(mean=[0.0, 127.5, 90.0], std=[255.0, 127.5, 31.0])


def images():
    return torch.randint(0, 256, (4, 3, 32, 32), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


def run(preprocessor):
    return preprocessor(dict(inputs=list(images()), data_samples=None))['inputs']


CLS = [dict(cfg, to_rgb=to_rgb) for cfg in (IMAGENET, OTHER, {}) for to_rgb in (False, True)]
DET = [
    dict(cfg, **swap) for cfg in (IMAGENET, OTHER, {}) for swap in ({}, dict(bgr_to_rgb=True), dict(rgb_to_bgr=True))
]
PREPROCESSORS = [
    *[(ClsDataPreprocessor, cfg) for cfg in CLS],
    *[(DetDataPreprocessor, dict(cfg, pad_size_divisor=16)) for cfg in DET],
    (ImgDataPreprocessor, IMAGENET),
]


@pytest.mark.parametrize('student', PREPROCESSORS, ids=lambda pair: f'{pair[0].__name__}{pair[1]}')
def test_renormalised_as_the_teacher_s_own_preprocessor_does(student):
    student = student[0](**student[1])
    for teacher in PREPROCESSORS:
        teacher = teacher[0](**teacher[1])
        inputs, expected = run(student), run(teacher)
        untouched = inputs.clone()
        result = Renormalise(student, teacher)(inputs)
        assert torch.equal(inputs, untouched)
        torch.testing.assert_close(result, expected, rtol=1e-5, atol=2e-4)
        assert (result is inputs) == torch.equal(inputs, expected)


def test_a_tensor_of_mixed_images_is_renormalised_too():
    student = ClsDataPreprocessor(**IMAGENET, to_rgb=True)
    teacher = ClsDataPreprocessor(**OTHER)
    a, b = run(student), run(teacher)
    mixed, expected = 0.3 * a + 0.7 * a.flip(0), 0.3 * b + 0.7 * b.flip(0)
    torch.testing.assert_close(Renormalise(student, teacher)(mixed), expected, rtol=1e-5, atol=2e-4)


def test_grey_images():
    student, teacher = ClsDataPreprocessor(mean=[10], std=[2]), ClsDataPreprocessor(mean=[20], std=[8], to_rgb=True)
    grey = [image[:1] for image in images()]
    inputs, expected = (net(dict(inputs=grey))['inputs'] for net in (student, teacher))
    torch.testing.assert_close(Renormalise(student, teacher)(inputs), expected)


def test_keeps_type_and_device_of_the_images():
    renormalise = Renormalise(ClsDataPreprocessor(**IMAGENET), ClsDataPreprocessor(**OTHER))
    assert renormalise(torch.zeros(1, 3, 2, 2, dtype=torch.bfloat16)).dtype == torch.bfloat16
    assert renormalise(torch.zeros(1, 3, 2, 2, device='meta')).device.type == 'meta'


def test_a_preprocessor_that_knows_no_normalisation():
    plain = SimpleNamespace()
    inputs = torch.randn(1, 3, 2, 2)
    assert Renormalise(plain, plain)(inputs) is inputs


# Padding


def detection_batch(preprocessor, sizes=((40, 64), (64, 30), (64, 64))):
    """Images of several sizes, as a detector gets them."""
    whole = images()[:1].float().repeat(len(sizes), 1, 2, 2)
    inputs = [image[:, :height, :width] for image, (height, width) in zip(whole, sizes)]
    samples = [DetDataSample(metainfo=dict(img_shape=size)) for size in sizes]
    data = preprocessor(dict(inputs=inputs, data_samples=samples))
    return data['inputs'], data['data_samples']


@pytest.mark.parametrize('own', [dict(IMAGENET, pad_value=3), dict(OTHER, pad_value=-1.5), dict(pad_value=114)])
@pytest.mark.parametrize('swap', [{}, dict(bgr_to_rgb=True)])
def test_padded_as_the_teacher_s_own_preprocessor_does(own, swap):
    student = DetDataPreprocessor(**IMAGENET, pad_size_divisor=48)
    teacher = DetDataPreprocessor(**own, **swap, pad_size_divisor=48)
    (inputs, samples), (expected, _) = detection_batch(student), detection_batch(teacher)
    untouched = inputs.clone()
    result = Renormalise(student, teacher)(inputs, samples)
    assert result.shape == (3, 3, 96, 96)
    torch.testing.assert_close(result, expected, rtol=1e-5, atol=2e-4)
    assert (result[0, :, 40:] == own['pad_value']).all()
    assert (result[1, :, :, 30:] == own['pad_value']).all()
    assert torch.equal(inputs, untouched)


def test_equal_padding_costs_nothing():
    student, teacher = DetDataPreprocessor(**IMAGENET, pad_value=2), DetDataPreprocessor(**IMAGENET, pad_value=2)
    inputs, samples = detection_batch(student)
    assert Renormalise(student, teacher)(inputs, samples) is inputs
    other = Renormalise(student, DetDataPreprocessor(**IMAGENET))
    inputs, samples = detection_batch(student, sizes=((64, 64), (64, 64)))
    assert other(inputs, samples) is inputs  # nothing is padded


def test_a_classifier_s_samples_say_nothing_of_padding():
    student, teacher = ClsDataPreprocessor(**IMAGENET), ClsDataPreprocessor(**OTHER, pad_value=7)
    samples = [DataSample(metainfo=dict(img_shape=(8, 8))) for _ in images()]  # of before the last resizing
    result = Renormalise(student, teacher)(run(student), samples)
    torch.testing.assert_close(result, run(teacher), rtol=1e-5, atol=2e-4)


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
