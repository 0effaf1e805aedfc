"""Tiny detectors from mmdet's own configs, batches for them, and a few iterations of their distillation."""

import copy
from collections.abc import Callable, Iterable, Sequence

import torch
from mmengine.config import ConfigDict
from mmengine.logging import MessageHub
from mmengine.registry import init_default_scope
from torch import nn

from mmkd.features.least_squares import LeastSquares
from mmkd.schedule.stage_optim import build_stage_optim_wrapper
from mmkd.utils.configs import load_config

BACKBONES = {  # the widths of their outputs
    'MobileNetV2': (dict(type='MobileNetV2', out_indices=(1, 2, 4, 6)), [24, 32, 96, 320]),
    'ResNeXt': (dict(type='ResNeXt', depth=50, groups=32, base_width=4, norm_eval=False), [256, 512, 1024, 2048]),
}
AS_FROZEN = 'fcos/fcos_r50-caffe_fpn_gn-head_1x_coco'  # the config freezes the first stage and every norm
SIZES = [[(64, 64), (64, 96)], [(96, 64), (64, 64)], [(32, 64), (64, 64)]]  # height and width of each batch's images
OPTIMIZER = dict(  # the weight decay would move a frozen parameter that has a gradient, even one of zeros
    type='OptimWrapper',
    optimizer=dict(type='SGD', lr=0.01, momentum=0.9, weight_decay=1e-3),
    clip_grad=dict(max_norm=10),
)
STATISTICS = ('running_mean', 'running_var', 'num_batches_tracked')


def plain_model(name: str) -> ConfigDict:
    """Build the detector of an mmdet config from scratch, optionally with another backbone; costly widths are cut."""
    name, _, backbone = name.partition(' on ')
    model = copy.deepcopy(load_config(f'mmdet::{name}.py').model)
    if backbone:
        model['backbone'], model['neck']['in_channels'] = copy.deepcopy(BACKBONES[backbone])
    model['backbone'].update(init_cfg=None)
    if name != AS_FROZEN:
        for key, value in dict(norm_eval=False, frozen_stages=-1).items():
            if key in model['backbone']:
                model['backbone'][key] = value
        if 'norm_cfg' in model['backbone']:
            model['backbone']['norm_cfg']['requires_grad'] = True
    return slim(model)


def slim(model: ConfigDict) -> ConfigDict:
    """Shrink a config: a quarter of a ResNet's channels, no zero-initialised blocks, few proposals and queries."""
    if model['backbone']['type'] in ('ResNet', 'ResNeXt'):
        model['backbone'].update(stem_channels=16, base_channels=16, zero_init_residual=False)
        model['neck']['in_channels'] = [width // 4 for width in model['neck']['in_channels']]
    if 'roi_head' in model:
        model['train_cfg']['rpn']['allowed_border'] = -1  # the anchors of coarse levels would be too large to learn
        model['train_cfg']['rpn_proposal'].update(nms_pre=50, max_per_img=20)
        for sampled in listed(model['train_cfg']['rcnn']):
            sampled['sampler']['num'] = 16
        for head in listed(model['roi_head']['bbox_head']):
            head['fc_out_channels'] = 32
    if 'num_queries' in model:
        model['num_queries'] = 20
    return model


def listed(value) -> Sequence:
    """Return a list; a cascade has one where other detectors have a single part."""
    return value if isinstance(value, list | tuple) else [value]


def as_in_a_run() -> None:
    """Set what a Runner sets: the scope, and the message hub that YOLOX's resizing and TOOD's losses read."""
    torch.manual_seed(0)
    init_default_scope('mmdet')
    for clock in ('iter', 'epoch'):
        MessageHub.get_current_instance().update_info(clock, 1)


def batches_for(distiller, with_mask: bool = False, boxes: int | None = None, sizes: Sequence = SIZES) -> list[dict]:
    """Preprocessed batches of two images each, of several sizes."""
    from mmdet.testing import demo_mm_inputs

    num_items = None if boxes is None else [boxes, boxes]
    return [
        distiller.data_preprocessor(
            demo_mm_inputs(2, [[3, *size] for size in both], with_mask=with_mask, num_items=num_items), training=True
        )
        for both in sizes
    ]


def learn(
    distiller,
    names: Sequence[str],
    trained: set[str],
    batches: Iterable[dict],
    after_each: Callable[[dict], None] = lambda losses: None,
    amp: bool = False,
) -> None:
    """Train these stages as a run does, one iteration per batch; all ``trained`` names must change, and no others."""
    distiller.enter(names)
    distiller.train()
    extras = [parameter for extra in distiller.trained_extras() for parameter in extra.parameters()]
    optimizer = build_stage_optim_wrapper(distiller.student, extras, OPTIMIZER)
    before = snapshot(distiller)
    taught = set()
    for data in batches:
        with torch.autocast('cpu', torch.bfloat16, enabled=amp):
            losses = distiller(**data, mode='loss')
        total, parsed = distiller.parse_losses(losses)
        assert all(value.isfinite() for value in parsed.values()), parsed
        optimizer.backward(total)
        for name, parameter in distiller.named_parameters():
            if parameter.grad is not None:
                assert name in trained, f'{name} got a gradient'
                assert parameter.grad.isfinite().all(), name
                if parameter.grad.any():
                    taught.add(name)
        after_each(losses)
        optimizer.step()
        optimizer.zero_grad()
    moved = changed(before, distiller)
    expected = with_statistics(trained, distiller) | fitted(distiller)
    unseen = {name for name in trained if '.scales.' in name}  # some levels are too coarse for these boxes
    assert trained > unseen
    assert trained - unseen <= taught, f'no gradient: {sorted(trained - unseen - taught)}'
    assert moved <= expected, f'frozen, but moved: {sorted(moved - expected)}'
    assert expected - unseen <= moved, f'did not move: {sorted(expected - unseen - moved)}'


def snapshot(network: nn.Module) -> dict[str, torch.Tensor]:
    """Copies of all parameters and buffers."""
    return {name: tensor.clone() for name, tensor in (*network.named_parameters(), *network.named_buffers())}


def changed(before: dict[str, torch.Tensor], network: nn.Module) -> set[str]:
    """Names of tensors that have changed."""
    after = snapshot(network)
    assert after.keys() == before.keys()
    return {name for name, tensor in after.items() if not torch.equal(tensor, before[name])}


def fitted(distiller) -> set[str]:
    """The adapters' fitted maps, which no gradient changes."""
    maps = [(name, m) for name, m in distiller.named_modules() if isinstance(m, LeastSquares) and m.training]
    return {f'{name}.{buffer}' for name, module in maps for buffer, _ in module.named_buffers()}


def with_statistics(parameters: set[str], network: nn.Module) -> set[str]:
    """Names of the parameters, and of the statistics of their norms."""
    owners = {name.rpartition('.')[0] for name in parameters}
    buffers = (name.rpartition('.') for name, _ in network.named_buffers())
    return parameters | {f'{owner}.{kind}' for owner, _, kind in buffers if owner in owners and kind in STATISTICS}


def log_calls(network: nn.Module) -> list[str]:
    """The paths of modules in the order in which they finish; interrupted ones are missing."""
    log: list[str] = []
    for path, module in network.named_modules():
        module.register_forward_hook(lambda *_, path=path: log.append(path))
    return log
