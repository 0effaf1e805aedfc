"""Terms whose losses learn, with clipping, mixed precision, half the bits and folded norms."""

import copy
from functools import partial

import pytest
import torch
from mmengine.optim.optimizer import amp_optimizer_wrapper
from torch import nn

from tests.distillers.test_losses_of_other_methods import begun
from tests.distillers.test_sskd_training import bytes_of
from tests.distillers.test_terms import ONE_PHASE, feature_kd

TERMS = dict(
    information=dict(loss=dict(type='mmkd.VIDLoss'), places=['layer2', 'layer4'], until=dict(epochs=3)),
    masked=dict(loss=dict(type='mmkd.MGDLoss', masked=0.15), places=['layer4'], weight=0.5),
    contrast=dict(loss=dict(type='mmkd.CRDLoss', negatives=8), places=['embedding']),
)
SHORT = {'train_cfg.max_epochs': 4, 'param_scheduler': None}
SGD = dict(type='SGD', lr=0.05, momentum=0.9)
CASES = {
    'clipping': ({}, {'optim_wrapper.clip_grad': dict(max_norm=0.5)}),
    'frozen_dtype': (dict(frozen_dtype='bfloat16'), {}),
    'mixed precision': ({}, {'optim_wrapper': dict(type='AmpOptimWrapper', optimizer=SGD, dtype='bfloat16')}),
}


@pytest.mark.parametrize(('model', 'changes'), CASES.values(), ids=CASES)
def test_they_learn_and_resume_byte_for_byte(distil, tmp_path, monkeypatch, model, changes):
    monkeypatch.setattr(amp_optimizer_wrapper, 'is_cuda_available', lambda: True)
    monkeypatch.setattr(amp_optimizer_wrapper, 'GradScaler', partial(torch.amp.GradScaler, device='cpu'))
    options = {**feature_kd(**TERMS), **model}
    whole = distil('whole', ONE_PHASE, options, **SHORT, **changes)
    whole.train()
    saved = [torch.load(tmp_path / 'whole' / f'epoch_{epoch}.pth', weights_only=False)['mmkd'] for epoch in (1, 2, 4)]
    for name, last in saved[2]['extras'].items():
        if 'term_' in name and name.endswith('weight'):
            assert not torch.equal(saved[0]['extras'][name], saved[1]['extras'][name])
            assert last.dtype == torch.float32
            assert last.isfinite().all()
    path = str(tmp_path / 'whole' / 'epoch_2.pth')
    resumed = distil('resumed', ONE_PHASE, options, resume=True, load_from=path, **SHORT, **changes)
    resumed.train()
    for network in ('student', 'extras'):
        assert bytes_of(getattr(resumed.model, network)) == bytes_of(getattr(whole.model, network))


def test_what_a_loss_learns_is_clipped_apart_from_the_student(distil):
    """Its gradients of any size leave the student's step as it is."""
    steps = []
    for weight in (1.0, 1e4):
        hint = dict(loss=dict(type='mmkd.CCLoss'), places=['embedding'])
        runner = distil(
            f'{weight}', ONE_PHASE, feature_kd(hint=hint), **{'optim_wrapper.clip_grad': dict(max_norm=0.1)}
        )
        torch.manual_seed(0)
        runner.model.init_weights()
        model, data = begun(runner)
        losses = model.loss(**data)
        losses['loss_own'].backward()
        for parameter in model.extras['term_hint'].parameters():
            parameter.grad = torch.full_like(parameter, weight)
        before = {name: value.clone() for name, value in model.student.state_dict().items()}
        runner.optim_wrapper.step()
        steps.append({name: value - before[name] for name, value in model.student.state_dict().items()})
    for name, step in steps[0].items():
        assert torch.equal(step, steps[1][name])
    assert any(step.abs().max() > 0 for step in steps[0].values() if step.is_floating_point())


def keep(seen, key, module, args, output):
    seen[key] = output.clone()  # the block adds its shortcut in place


def test_a_folded_norm_is_compared_as_it_was_before_the_shortcut_is_added(distil):
    places = [('layer2.0.bn2', 'layer2.0.bn2'), ('layer3.1.bn2', 'layer3.1.bn2')]
    term = dict(loss=dict(type='mmkd.ATLoss', loss_weight=1.0), places=places)
    runner = distil(hook=ONE_PHASE, model=feature_kd(hint=term))
    unfolded = copy.deepcopy(runner.model.teacher.network)
    model, data = begun(runner)
    seen = {}
    for whose, network in (('own', model.student), ('folded', model.teacher.network), ('unfolded', unfolded)):
        for _, path in places:
            module = network.backbone.get_submodule(path)
            module.register_forward_hook(partial(keep, seen, (whose, path)))
    losses = model.loss(**data)
    with torch.no_grad():
        unfolded.backbone(model.teacher_inputs(data['inputs']))
    for _, path in places:
        torch.testing.assert_close(seen['folded', path], seen['unfolded', path], rtol=1e-4, atol=1e-4)
        expected = model.terms['hint'].loss(seen['own', path], seen['unfolded', path])
        torch.testing.assert_close(losses[f'loss_term_hint_{path}'], expected, rtol=1e-4, atol=1e-6)
    assert isinstance(model.teacher.network.backbone.layer2[0].bn2, nn.Identity)  # it is in the convolution
