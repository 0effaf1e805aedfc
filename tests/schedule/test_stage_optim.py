import copy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from mmengine.optim import OptimWrapper, build_optim_wrapper
from mmengine.registry import PARAM_SCHEDULERS, DefaultScope
from torch import nn

from mmkd.schedule.stage_optim import CompressedSchedule, build_stage_optim_wrapper, compress
from tests.stage_networks import build

EPOCH = 4  # iterations
EPOCHS = 60
KINDS = dict(
    Constant=dict(factor=0.5, begin=3, end=20),
    CosineAnnealing=dict(T_max=40, eta_min=0.01, begin=5, end=45),
    CosineRestart=dict(periods=[20, 40], restart_weights=[1, 0.5], eta_min=0.001),
    Exponential=dict(gamma=0.97),
    Linear=dict(start_factor=0.1, end=17),
    MultiStep=dict(milestones=[13, 40], gamma=0.3),
    OneCycle=dict(eta_max=0.5, total_steps=EPOCHS),
    Poly=dict(power=0.9, eta_min=0.01, begin=7, end=50),
    Step=dict(step_size=9, gamma=0.7),
)
WAITING = ('ReduceOnPlateauLR', 'ReduceOnPlateauMomentum', 'ReduceOnPlateauParamScheduler')
CLASSES = [name for name, cls in PARAM_SCHEDULERS.module_dict.items() if cls.__module__.startswith('mmengine.')]
CHAINS = {
    'warm-up, then cosine': [
        dict(type='LinearLR', start_factor=0.01, end=11),
        dict(type='CosineAnnealingLR', begin=11, end=60, T_max=49, eta_min=0.003),
    ],
    'overlapping': [
        dict(type='LinearLR', start_factor=0.1, end=40),
        dict(type='CosineAnnealingLR', begin=10, end=60, T_max=50, eta_min=0.003),
    ],
    'lr and momentum': [
        dict(type='OneCycleLR', eta_max=0.5, total_steps=60),
        dict(type='CosineAnnealingMomentum', T_max=60, eta_min=0.5),
    ],
}
PER_EPOCH = [dict(type='CosineAnnealingLR', begin=5, end=60, T_max=55, eta_min=0.003, by_epoch=True)]
MIXED = {
    'iterations, then epochs': [dict(type='LinearLR', start_factor=0.01, end=5 * EPOCH, by_epoch=False), *PER_EPOCH],
    'epochs, then iterations': [
        dict(type='LinearLR', start_factor=0.01, end=7, by_epoch=True),
        dict(type='CosineAnnealingLR', begin=7 * EPOCH, T_max=53 * EPOCH, eta_min=0.003, by_epoch=False),
    ],
    'epochs and iterations at once': [*PER_EPOCH, dict(type='PolyLR', eta_min=0.01, end=200, by_epoch=False)],
}


def kind(name):
    """Valid settings of a scheduler class, for any parameter."""
    cfg = dict(type=name)
    for suffix in ('ParamScheduler', 'Momentum', 'LR'):
        if name.endswith(suffix):
            cfg.update(KINDS[name.removesuffix(suffix)])
            param = 'lr' if name.startswith('OneCycle') else 'weight_decay'
            return dict(cfg, param_name=param) if suffix == 'ParamScheduler' else cfg
    raise KeyError(name)


def make(configs, optimizer='SGD'):
    torch.manual_seed(0)
    groups = [dict(params=[nn.Parameter(torch.ones(2))], lr=lr) for lr in (0.1, 0.03)]
    cfg = dict(SGD=dict(momentum=0.9), AdamW=dict(betas=(0.9, 0.99)))[optimizer]
    wrapper = OptimWrapper(getattr(torch.optim, optimizer)(groups, weight_decay=0.05, **cfg))
    schedulers = [PARAM_SCHEDULERS.build(config, default_args=dict(optimizer=wrapper)) for config in configs]
    wrapper.step()  # otherwise every scheduler warns
    return wrapper, schedulers


def values(wrapper):
    names = ('lr', 'weight_decay', 'momentum', 'betas')
    return [tuple(group.get(name) for name in names) for group in wrapper.param_groups]


def plain_run(configs, epochs, optimizer='SGD'):
    """The values before the first iteration and after each, stepped as by ParamSchedulerHook."""
    wrapper, schedulers = make(configs, optimizer)
    track = [values(wrapper)]
    for iteration in range(1, epochs * EPOCH + 1):
        for by_epoch in (False, True)[: 1 + (iteration % EPOCH == 0)]:
            for scheduler in schedulers:
                if scheduler.by_epoch is by_epoch:
                    scheduler.step()
        track.append(values(wrapper))
    return track


def lengths(stage):
    return {True: stage, False: stage * EPOCH}


def stage_run(configs, total, stage, optimizer='SGD', stop=None):
    """The same within a stage of this many epochs; after iteration ``stop`` its state moves into a new run."""
    wrapper, schedulers = make(configs, optimizer)
    schedulers = compress(schedulers, lengths(total), lengths(stage))
    track = [values(wrapper)]
    for iteration in range(1, stage * EPOCH + 1):
        for scheduler in schedulers:
            if not scheduler.by_epoch or iteration % EPOCH == 0:
                scheduler.step()
        track.append(values(wrapper))
        if iteration == stop:
            states = copy.deepcopy([scheduler.state_dict() for scheduler in schedulers])
            optimizer_state = copy.deepcopy(wrapper.state_dict())
            wrapper, schedulers = make(configs, optimizer)
            schedulers = compress(schedulers, lengths(total), lengths(stage))
            wrapper.load_state_dict(optimizer_state)
            for scheduler, state in zip(schedulers, states, strict=True):
                scheduler.load_state_dict(state)
    return track


def per_iteration(configs):
    """The same by iteration, for 60 iterations."""
    return [dict(config, by_epoch=False) for config in configs]


def check(configs, total, stage, optimizer='SGD'):
    plain = plain_run(configs, total, optimizer)
    track = stage_run(configs, total, stage, optimizer)
    if all(config.get('by_epoch', True) for config in configs):  # these change at the ends of epochs only
        plain, track, total_steps, steps = plain[::EPOCH], track[::EPOCH], total, stage
    else:
        total_steps, steps = total * EPOCH, stage * EPOCH
    assert len(track) == steps + 1
    for i in range(steps + 1):
        assert track[i] == plain[i * total_steps // steps], i
    assert track[-1] == plain[-1]
    return track


def test_no_scheduler_class_is_left_out():
    assert {*CLASSES} >= {f'{name}ParamScheduler' for name in KINDS}
    assert {cls for cls in CLASSES if cls not in WAITING} == {cls for cls in CLASSES if kind_or_none(cls)}


def kind_or_none(name):
    try:
        return kind(name)
    except KeyError:
        return None


@pytest.mark.parametrize('optimizer', ['SGD', 'AdamW'])
@pytest.mark.parametrize('stage', [60, 30, 17, 60 + 23])
@pytest.mark.parametrize('name', [name for name in CLASSES if name not in WAITING])
def test_every_scheduler(name, stage, optimizer):
    track = check([kind(name)], EPOCHS, stage, optimizer)
    assert any(values != track[0] for values in track), 'it does nothing, so this test shows nothing'


@pytest.mark.parametrize('chain', CHAINS.values(), ids=CHAINS)
@pytest.mark.parametrize('stage', [15, 11, 7])
def test_chains_by_iteration(chain, stage):
    check(per_iteration(chain), 15, stage)
    check(per_iteration(chain), 15, 15)


@pytest.mark.parametrize('chain', CHAINS.values(), ids=CHAINS)
@pytest.mark.parametrize('stage', [60, 30, 7, 1])
def test_chains_by_epoch(chain, stage):
    check(chain, EPOCHS, stage)


@pytest.mark.parametrize('chain', MIXED.values(), ids=MIXED)
@pytest.mark.parametrize('stage', [60, 30, 23, 1])
def test_epochs_and_iterations_keep_the_order_of_the_plain_run(chain, stage):
    check(chain, EPOCHS, stage)


@given(st.integers(1, 40), st.integers(1, 40), st.integers(2, 300))
def test_any_lengths(total, stage, end):
    configs = [
        dict(type='LinearLR', start_factor=0.1, end=end, by_epoch=False),
        dict(type='CosineAnnealingLR', T_max=total, eta_min=0.003, by_epoch=True),
    ]
    check(configs, total, stage)


@pytest.mark.parametrize('chain', [*CHAINS.values(), *MIXED.values()], ids=[*CHAINS, *MIXED])
@pytest.mark.parametrize('stage', [60, 23])
def test_state_goes_on_in_a_new_run(chain, stage):
    assert stage_run(chain, EPOCHS, stage, stop=7 * EPOCH) == stage_run(chain, EPOCHS, stage)


@pytest.mark.parametrize('chain', CHAINS.values(), ids=CHAINS)
@pytest.mark.parametrize('stage', [15, 11])
def test_state_goes_on_within_an_epoch(chain, stage):
    chain = per_iteration(chain)
    assert stage_run(chain, 15, stage, stop=30) == stage_run(chain, 15, stage)


@pytest.mark.parametrize('name', WAITING)
def test_those_that_wait_for_a_metric_are_passed_through(name):
    configs = [dict(type=name, patience=0), dict(type='StepLR', step_size=2)]
    if name.endswith('ParamScheduler'):
        configs[0]['param_name'] = 'weight_decay'
    _, schedulers = make(configs)
    step, waiting = compress(schedulers, lengths(4), lengths(2))
    assert waiting is schedulers[0]
    assert isinstance(step, CompressedSchedule)
    assert step.schedulers == [schedulers[1]]
    assert not getattr(step, 'need_val_args', False)
    assert compress(schedulers[:1], lengths(4), lengths(2)) == [waiting]


def test_iterations_alone_are_counted_by_iteration_and_epochs_by_epoch():
    for by_epoch in (True, False):
        _, schedulers = make([dict(type='StepLR', step_size=2, by_epoch=by_epoch)])
        assert compress(schedulers, lengths(4), lengths(2))[0].by_epoch is by_epoch


def test_in_an_iteration_loop_an_epoch_never_ends():
    configs = [dict(type='ExponentialLR', gamma=0.5), dict(type='StepLR', step_size=30, by_epoch=False)]
    wrapper, schedulers = make(configs)
    (schedule,) = compress(schedulers, {True: 1, False: 100}, {True: 40, False: 40})
    track = []
    for _ in range(39):
        schedule.step()
        track.append(round(wrapper.param_groups[0]['lr'], 8))
    assert track == [0.1] * 11 + [0.01] * 12 + [0.001] * 12 + [0.0001] * 4


# The optimizer wrapper


SGD = dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.1, momentum=0.9, weight_decay=0.01))


def student():
    torch.manual_seed(0)
    network = nn.Module()
    network.backbone = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 4))
    network.head = nn.Linear(4, 2)
    return network


def group_of(wrapper, parameter):
    (group,) = [group for group in wrapper.optimizer.param_groups if any(p is parameter for p in group['params'])]
    return group


def test_parameters_have_the_names_that_the_config_knows():
    network, extra = student(), nn.Linear(2, 2)
    keys = {'backbone.0': dict(lr_mult=0.1), 'head': dict(lr_mult=10, decay_mult=0)}
    cfg = dict(SGD, paramwise_cfg=dict(custom_keys=keys, norm_decay_mult=0))
    wrapper = build_stage_optim_wrapper(network, extra.parameters(), cfg)
    assert group_of(wrapper, network.backbone[0].weight)['lr'] == pytest.approx(0.01)
    assert group_of(wrapper, network.backbone[2].weight)['lr'] == 0.1
    assert group_of(wrapper, network.backbone[1].weight)['weight_decay'] == 0
    assert group_of(wrapper, network.head.weight)['lr'] == 1
    assert group_of(wrapper, network.head.weight)['weight_decay'] == 0
    extras = group_of(wrapper, extra.weight)
    assert extras is wrapper.optimizer.param_groups[-1]
    assert extras['params'] == list(extra.parameters())
    assert (extras['lr'], extras['weight_decay'], extras['momentum']) == (0.1, 0.01, 0.9)
    assert cfg == dict(SGD, paramwise_cfg=dict(custom_keys=keys, norm_decay_mult=0)), 'the config must serve again'


def test_without_extras_it_is_the_plain_one():
    network = student()
    cfg = dict(SGD, clip_grad=dict(max_norm=1))
    wrapper, plain = build_stage_optim_wrapper(network, [], cfg), build_optim_wrapper(network, copy.deepcopy(cfg))
    assert wrapper.state_dict() == plain.state_dict()
    for network in (one := student(), two := student()):
        for parameter in network.parameters():
            parameter.grad = torch.ones_like(parameter)
    wrapper.clip_func([*one.parameters()], max_norm=1)
    norm = plain.clip_func([*two.parameters()], max_norm=1)
    assert wrapper.message_hub.get_scalar('train/grad_norm').current() == float(norm)
    assert all(torch.equal(p.grad, q.grad) for p, q in zip(one.parameters(), two.parameters()))


def train(network, extra, cfg, steps=3, scale=1e6):
    wrapper = build_stage_optim_wrapper(network, extra.parameters() if extra else [], cfg)
    generator = torch.Generator().manual_seed(1)
    for _ in range(steps):
        output = network.head(network.backbone(torch.randn(8, 3, generator=generator)))
        loss = output.square().mean() * 10
        if extra:
            loss = loss + extra(torch.full((4, 2), scale)).sum()
        wrapper.update_params(loss)
    return wrapper


@pytest.mark.parametrize(
    'clip', [dict(max_norm=0.1), dict(max_norm=0.2, norm_type=1), dict(type='value', clip_value=0.01)]
)
def test_extras_are_clipped_apart(clip):
    plain, distilled, extra = student(), student(), nn.Linear(2, 2)
    start = extra.weight.clone()
    cfg = dict(SGD, clip_grad=clip)
    train(plain, None, cfg)
    train(distilled, extra, cfg)
    for a, b in zip(plain.state_dict().values(), distilled.state_dict().values()):
        assert torch.equal(a, b)
    assert 0 < (extra.weight - start).norm() < 1, 'the extras are clipped too'
    unclipped = student()
    train(unclipped, None, SGD)
    assert not torch.equal(unclipped.head.weight, plain.head.weight), 'nothing was clipped, so this test shows nothing'


@pytest.mark.parametrize('clip', [dict(max_norm=0.1), dict(type='value', clip_value=0.01)])
def test_clipping_where_only_one_side_has_gradients(clip):
    network, extra = student(), nn.Linear(2, 2)
    wrapper = build_stage_optim_wrapper(network, extra.parameters(), dict(SGD, clip_grad=clip))
    wrapper.update_params(extra(torch.ones(1, 2)).sum())
    wrapper.update_params(network.head(torch.ones(1, 4)).sum())


@pytest.mark.parametrize('optimizer', [SGD['optimizer'], dict(type='AdamW', lr=0.1)])
def test_what_is_frozen_stays_even_with_an_old_gradient(optimizer):
    network = student()
    network.head(network.backbone(torch.randn(8, 3))).sum().backward()
    network.backbone.requires_grad_(False)
    before = {name: value.clone() for name, value in network.named_parameters()}
    train(network, nn.Linear(2, 2), dict(SGD, optimizer=optimizer, clip_grad=dict(max_norm=1)))
    for name, value in network.named_parameters():
        assert torch.equal(value, before[name]) is name.startswith('backbone.'), name


@pytest.mark.parametrize('name', ['VisionTransformer', 'SwinTransformer'])
def test_layer_decay_reaches_the_layers(name):
    network, _ = build(name)
    extra = nn.Linear(2, 2)
    cfg = dict(
        type='OptimWrapper',
        optimizer=dict(type='AdamW', lr=1.0, weight_decay=0.05),
        constructor='LearningRateDecayOptimWrapperConstructor',
        paramwise_cfg=dict(layer_decay_rate=0.5),
    )
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        wrapper = build_stage_optim_wrapper(network, extra.parameters(), cfg)
        plain = build_optim_wrapper(network, copy.deepcopy(cfg))
        behind = build_optim_wrapper(Behind(network), copy.deepcopy(cfg))
    rates = {group['param_name']: group['lr'] for group in plain.optimizer.param_groups}
    assert len(set(rates.values())) > 5
    assert {group['param_name']: group['lr'] for group in wrapper.optimizer.param_groups[:-1]} == rates
    assert group_of(wrapper, extra.weight)['lr'] == 1
    # the reason for building it on the student itself: behind a prefix nothing decays, silently
    assert {group['lr'] for group in behind.optimizer.param_groups} == {1}


class Behind(nn.Module):
    """A module that holds a student behind a prefix, as a distiller does."""

    def __init__(self, student):
        super().__init__()
        self.student = student

    def get_layer_depth(self, name):
        return self.student.get_layer_depth(name)


def test_schedulers_reach_the_extras():
    network, extra = student(), nn.Linear(2, 2)
    wrapper = build_stage_optim_wrapper(network, extra.parameters(), SGD)
    scheduler = PARAM_SCHEDULERS.build(
        dict(type='LinearLR', start_factor=0.5, end=2), default_args=dict(optimizer=wrapper)
    )
    assert [group['lr'] for group in wrapper.optimizer.param_groups] == [0.05, 0.05]
    wrapper.step()
    scheduler.step()
    assert [group['lr'] for group in wrapper.optimizer.param_groups] == [0.1, 0.1]
