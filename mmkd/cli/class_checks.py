"""Checks that the classes named in a config exist and accept their arguments."""

import inspect
from collections.abc import Iterator
from typing import Any

from mmengine.config import Config
from mmengine.registry import Registry

from mmkd.distillers.base import Distiller
from mmkd.errors import UserError, did_you_mean
from mmkd.registry import MODELS, OWN
from mmkd.utils.signatures import parameters_of

NOT_ARGUMENTS = {'type', 'priority', '_scope_', 'constructor', 'paramwise_cfg'}  # keys that mmengine reads itself
OPTIONS = {'loss': 'mmkd.losses', 'losses': 'mmkd.losses', 'heads': 'mmkd.heads'}
"""By the last word of a distiller's option, where the classes for it lie."""


def check_own_parts(cfg: Config) -> None:
    """Check mmkd's own classes before anything is built; mmengine checks them only while building."""
    for key, part in dicts_in(cfg.to_dict(), ''):
        name = str(part.get('type'))
        if not name.startswith('mmkd.'):
            continue
        kind = _own_class(name)
        if kind is None:
            raise UserError(no_such_class(key, name, list(OWN)))
        if inspect.isclass(kind) and issubclass(kind, Distiller):
            _check_distiller(key, part, kind)
        for argument in part:
            if argument not in NOT_ARGUMENTS | parameters_of(kind).keys():
                raise UserError(no_such_argument(key, kind, argument))


def no_such_class(key: str, name: str, registries: list[Registry]) -> str:
    """The error for a type that none of these registries knows."""
    own = {f'mmkd.{known}' for registry in OWN for known in registry.module_dict}
    if f'mmkd.{name}' in own:
        return f"{key}.type: it is mmkd's own; write type='mmkd.{name}'."
    scope, _, short = name.rpartition('.')
    if scope == 'mmkd':
        cure = did_you_mean(name, own)
    else:
        scope = scope or str(registries[0].scope)
        cure = did_you_mean(short, {known for registry in registries for known in _names(registry)})
    if scope == 'mmengine':
        cure = f" Set default_scope to the toolbox that has it, such as 'mmpretrain' or 'mmdet'.{cure}"
    return f'{key}.type: {scope} has no {short}.' + (
        cure or ' If it is your own, import its module: custom_imports = dict(imports=[...]).'
    )


def no_such_argument(key: str, kind: Any, argument: str) -> str:
    """The error for an argument that a class does not accept, with the nearest one that it does."""
    taken = parameters_of(kind).keys()
    near = did_you_mean(argument, taken) or f' It takes {", ".join(sorted(taken))}.'
    return f'{key}.{argument}: {kind.__name__} takes no {argument}.{near}'


def dicts_in(node: Any, path: str) -> Iterator[tuple[str, dict]]:
    """All dicts of a config with their paths, outermost first."""
    if isinstance(node, dict):
        yield path, node
        pairs = node.items()
    else:
        pairs = enumerate(node) if isinstance(node, list | tuple) else ()  # type: ignore[assignment]
    for key, inner in pairs:
        yield from dicts_in(inner, f'{path}.{key}' if path else str(key))


def _check_distiller(key: str, part: dict, kind: type) -> None:
    """Check for the most common mistakes of a first config."""
    unknown = set(part) - parameters_of(kind).keys() - NOT_ARGUMENTS
    student = part.get('student')
    if unknown and isinstance(student, dict) and unknown <= set(student):
        raise UserError(
            f'{key}: it mixes {", ".join(sorted(unknown))} of the inherited {key} with what {kind.__name__} takes; '
            f"write {key} = dict(_delete_=True, type='mmkd.{kind.__name__}', student=..., teacher=...)."
        )
    missing = [name for name in ('student', 'teacher') if name not in part]
    if missing and not unknown:
        raise UserError(
            f'{key}: it lacks {" and ".join(missing)}; write student={{{{_base_.model}}}}, the config of the model to '
            'train, and teacher=dict(config=..., checkpoint=...).'
        )
    for option, value in part.items():
        module = OPTIONS.get(option.rpartition('_')[-1])
        values = value.items() if option == 'stage_losses' and isinstance(value, dict) else [('', value)]
        for name, inner in values if module else ():
            if isinstance(inner, dict) and inner and not {'type', 'neck', 'head'} & set(inner):
                _refuse_no_type(f'{key}.{option}{"." * bool(name)}{name}', inner, str(module))


def _refuse_no_type(key: str, part: dict, module: str) -> None:
    kinds = {name: kind for name, kind in MODELS.module_dict.items() if kind.__module__.startswith(module)}
    fitting = [name for name, kind in kinds.items() if set(part) <= parameters_of(kind).keys()] or list(kinds)
    usual = 'SoftTargetLoss' if key.endswith('soft_loss') else 'FeatureMimicLoss'
    few = sorted(fitting) if len(fitting) <= 4 else [usual if usual in fitting else min(fitting)]
    types = ' or '.join(f"type='mmkd.{name}'" for name in few)
    others = f' or another of {module}' if len(fitting) > 4 else ''
    raise UserError(f'{key}: it has no type; add {types}{others}.')


def _own_class(name: str) -> Any:
    for registry in OWN:
        try:
            kind = registry.get(name)
        except RuntimeError:  # mmengine sometimes raises this for an unknown name
            continue
        if kind is not None:
            return kind
    return None


def _names(registry: Registry) -> set[str]:
    """The names in a registry and its parents."""
    registry.import_from_location()
    return set(registry.module_dict) | (_names(registry.parent) if registry.parent is not None else set())
