"""Checks that a student with random weights trains all of its weights."""

import inspect
from typing import Any

from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd

from mmkd.errors import UserError
from mmkd.stages.trace import unchanged


def has_weights(key: str, network: nn.Module) -> bool:
    """Whether a network's own config loads trained weights for its backbone, from a file or from timm."""
    backbone = network.get_submodule('backbone')
    timm = hasattr(backbone, 'timm_model') and getattr(backbone, '_is_init', False)  # set by mmpretrain
    return timm or names_weights(key, network) or names_weights(f'{key}.backbone', backbone)


def names_weights(key: str, module: nn.Module) -> bool:
    """Whether a module's own config names a file of weights."""
    return any(init.get('type') == 'Pretrained' for init in _listed(key, getattr(module, 'init_cfg', None)))


def check_scratch(student: nn.Module) -> None:
    """Raise an error for a backbone without pretrained weights of which some weights or statistics are frozen."""
    if has_weights('model.student', student) or not (stuck := _stuck(student)):
        return
    backbone = student.get_submodule('backbone')
    free = _default(type(backbone), 'frozen_stages')  # 0 in some, -1 in others
    cures = ['norm_eval=False'] * bool(getattr(backbone, 'norm_eval', False))
    if getattr(backbone, 'frozen_stages', free) != free:
        cures.append(f'frozen_stages={free}')
    cure = f'set {" and ".join(cures)}' if cures else 'let all of it learn'
    raise UserError(
        f'model.student.backbone: it has no pretrained weights, and its config keeps random ones or their batch norm '
        f'statistics as they are ({stuck[0]}{f" and {len(stuck) - 1} more" * (len(stuck) > 1)}); '
        f'{cure}, or name its weights in init_cfg or load_from.'
    )


def _stuck(student: nn.Module) -> list[str]:
    """The parts of the backbone that stay frozen in training mode though others of their kind do not."""
    with unchanged(student):
        student.train()
        return [
            f'backbone.{name}'
            for name, module in student.get_submodule('backbone').named_modules()
            if (isinstance(module, _NormBase) and module.track_running_stats and not module.training)
            or (isinstance(module, _ConvNd | nn.Linear) and not module.weight.requires_grad)
        ]


def _default(kind: type, argument: str) -> Any:
    """The default of a constructor's argument, searched in bases as well; None if no constructor has it."""
    for base in kind.__mro__:
        if argument in (arguments := inspect.signature(base.__init__).parameters):  # type: ignore[misc]
            return arguments[argument].default
    return None


def _listed(key: str, init_cfg: Any) -> list[dict]:
    inits = [] if init_cfg is None else list(init_cfg) if isinstance(init_cfg, list | tuple) else [init_cfg]
    if not all(isinstance(init, dict) for init in inits):
        raise UserError(f'{key}.init_cfg: it must be a dict or a list of them, not {init_cfg!r}.')
    return inits
