"""Builds a head from its config so that it fits its stage."""

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from mmkd.errors import UserError, in_one_line
from mmkd.features.capture import Feature
from mmkd.features.layout import Layout
from mmkd.heads.classification import ToolboxHead
from mmkd.registry import MODELS
from mmkd.stages.plan import Stage
from mmkd.utils.signatures import parameters_of


def build_head(cfg: dict, stage: Stage, num_classes: int) -> nn.Module:
    """Build an initialised head that computes scores (N, num_classes) from a stage's feature.

    ``in_channels``, ``num_classes`` and ``layout`` are filled in where a class takes them and the config is silent.

    Args:
        cfg: ``dict(type='mmkd.AuxiliaryHead', ...)``, or a toolbox's own ``dict(neck=dict(...), head=dict(...))``, the
            neck being optional.
        stage: Where the feature comes from.
        num_classes: How many scores must come out.

    Raises:
        UserError: The head cannot be built, or puts out something else.
    """
    place = f'model.heads: the head of stage {stage.name}'
    if 'type' not in cfg and ('head' not in cfg or set(cfg) - {'neck', 'head'}):
        raise UserError(
            f"{place} must be dict(type='mmkd.AuxiliaryHead', ...) or dict(neck=dict(...), head=dict(...)), "
            f'not {dict(cfg)!r}.'
        )
    layout = Layout.of(stage, stage.shapes[-1])
    feature = tuple(torch.zeros(2, *shape) for shape in stage.shapes)
    try:
        if 'type' in cfg:
            head = build_module(cfg, in_channels=layout.width, num_classes=num_classes, layout=layout)
        else:
            head = _build_toolbox_head(cfg, layout, feature, num_classes)
        getattr(head, 'init_weights', lambda: None)()
        scores = _dry_run(head, feature)
    except UserError as error:
        raise UserError(f'{place}: {error}') from error
    except Exception as error:  # a toolbox's classes may raise anything
        raise UserError(
            f'{place} cannot work on a feature of shape {_shapes(feature)} ({in_one_line(error)}); '
            'fix its arguments, or give it a neck that pools the map.'
        ) from error
    if not isinstance(scores, Tensor) or scores.shape != (2, num_classes):
        came = f'shape {tuple(scores.shape)}' if isinstance(scores, Tensor) else f'a {type(scores).__name__}'
        raise UserError(
            f'{place} must put out scores of shape (2, {num_classes}) for a feature of shape {_shapes(feature)}, '
            f'but puts out {came}; choose another head, or a neck that pools the map.'
        )
    return head


def _build_toolbox_head(cfg: dict, layout: Layout, feature: Feature, num_classes: int) -> ToolboxHead:
    neck: nn.Module = nn.Identity()
    if cfg.get('neck') is not None:
        neck = build_module(cfg['neck'], in_channels=layout.width, num_classes=num_classes)
    width = _dry_run(ToolboxHead(neck, nn.Identity(), layout), feature)[-1].shape[1]
    return ToolboxHead(neck, build_module(cfg['head'], in_channels=width, num_classes=num_classes), layout)


def build_module(cfg: dict, **known: Any) -> nn.Module:
    """Build a module with those of the known arguments that its class takes and the config does not give."""
    kind = kind_of(cfg)
    return MODELS.build({**{key: value for key, value in known.items() if key in parameters_of(kind)}, **cfg})


def kind_of(cfg: dict) -> type:
    """The class that a config names."""
    kind = cfg.get('type')
    if isinstance(kind, str):
        with MODELS.switch_scope_and_registry(cfg.get('_scope_')) as registry:
            kind = registry.get(kind)
    if kind is None:
        raise UserError(f'no model is registered as {cfg.get("type")!r}; write its type as toolbox.Name.')
    return kind


def _dry_run(module: nn.Module, feature: Feature) -> Any:
    """The output of a module in training mode, without changing it."""
    return without_statistics(module)(feature)


def without_statistics(module: nn.Module) -> Any:
    """A copy for a dry run, in training mode but for batch norm: a synchronised one would wait for other processes."""
    twin = copy.deepcopy(module).train()
    for part in twin.modules():
        if isinstance(part, _BatchNorm):
            part.eval()
    return twin


def _shapes(feature: Feature) -> str:
    return ', '.join(str(tuple(tensor.shape)) for tensor in feature)
