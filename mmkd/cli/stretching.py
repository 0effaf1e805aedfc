"""Stretches a learning rate policy to another number of epochs."""

import re
from collections.abc import Callable
from typing import Any

from mmengine.config import ConfigDict

from mmkd.errors import UserError
from mmkd.utils.signatures import bare_name

COUNTS = {
    'Constant': (),
    'Linear': (),
    'QuadraticWarmup': (),
    'Poly': (),
    'Exponential': (),
    'CosineAnnealing': ('T_max',),
    'MultiStep': ('milestones',),
    'Step': ('step_size',),
    'CosineRestart': ('periods',),
    'OneCycle': ('total_steps',),
}
"""Schedulers without the ending of their names, and their options that count epochs, besides ``begin`` and ``end``."""
FOREVER = 10**9  # mmengine's own


def stretch(schedulers: Any, epochs: int, wanted: int) -> list[dict]:
    """The same policy over another number of epochs: all that it counts becomes longer or shorter in proportion.

    Args:
        schedulers: ``param_scheduler`` of a config.
        epochs: That it is written for.
        wanted: That are trained.
    """
    listed = schedulers if isinstance(schedulers, list | tuple) else [schedulers] if schedulers else []
    several = isinstance(schedulers, list | tuple)
    return [
        _stretched(f'param_scheduler{f".{place}" * several}', _plain(one), epochs, wanted)
        for place, one in enumerate(listed)
    ]


def _stretched(key: str, scheduler: dict, epochs: int, wanted: int) -> dict:
    kind = re.sub(r'(LR|Momentum|ParamScheduler)$', '', bare_name(scheduler.get('type')))
    if kind not in COUNTS:
        raise _refusal(f'{key}, a {scheduler.get("type")}, is none of the policies that can be stretched', wanted)
    by_epoch = scheduler.get('by_epoch', True)
    unit = 'epochs' if by_epoch else 'iterations'

    def scaled(name: str, count: int) -> int:
        """At least one, if it was."""
        found = int(count * wanted / epochs + 0.5)
        if count and not found:
            raise _refusal(f'{key}.{name}, {count} {unit} of a training of {epochs} epochs, would be none', wanted)
        return found

    found = dict(scheduler)
    for name in ('begin', 'end', *COUNTS[kind]):
        if isinstance(scheduler.get(name), int) and scheduler[name] < FOREVER:
            found[name] = scaled(name, scheduler[name])
        elif isinstance(scheduler.get(name), list | tuple):
            found[name] = _apart(f'{key}.{name}', scheduler[name], scaled, by_epoch, epochs, wanted)
    if 'end' in found and found['end'] <= found.get('begin', 0):
        raise _refusal(f'{key}, {_length(scheduler)} {unit} of a training of {epochs} epochs, would be none', wanted)
    if kind == 'CosineAnnealing' and _length(scheduler) == scheduler.get('T_max') is not None:
        found['T_max'] = _length(found)  # rounded apart they may differ
    if kind == 'Exponential':
        found['gamma'] = scheduler['gamma'] ** (epochs / wanted)
    return found


def _apart(
    key: str, counts: list[int], scaled: Callable[[str, int], int], by_epoch: bool, epochs: int, wanted: int
) -> list[int]:
    """Milestones that are still different, and within the training."""
    found = [scaled(key.rpartition('.')[-1], count) for count in counts]
    late = by_epoch and any(new >= wanted and old < epochs for old, new in zip(counts, found))
    if key.endswith('milestones') and (late or len(set(found)) < len(set(counts))):
        raise _refusal(f'{key}, {list(counts)} of {epochs} epochs, would be {found}', wanted)
    return found


def _length(scheduler: dict) -> int | None:
    return scheduler['end'] - scheduler.get('begin', 0) if 'end' in scheduler else None


def _plain(scheduler: Any) -> dict:
    return scheduler.to_dict() if isinstance(scheduler, ConfigDict) else dict(scheduler)


def _refusal(why: str, wanted: int) -> UserError:
    return UserError(
        f"--epochs: the student's {why} in {wanted} epochs; choose another number, or leave --epochs out and set "
        'train_cfg and param_scheduler in the config that is written.'
    )
