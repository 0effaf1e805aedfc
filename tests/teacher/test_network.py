import copy
import logging
import random

import numpy as np
import pytest
import torch
from mmdet.models import DetDataPreprocessor
from mmengine.config import Config
from torch import nn

from mmkd.teacher.network import Teacher, freeze_modes
from tests.stage_networks import build
from tests.teacher.networks import RESNET, RUNNING, config, fails, same


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

    with DefaultScope.overwrite_default_scope('mmpretrain'):  # of the student
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


# Frozen, outside of the module tree, and without side effects


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
