"""What is compared: plain networks, each by its config and its weights."""

import copy
import re
from argparse import Namespace
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath

from mmengine.config import Config

from mmkd.cli import checks, data_checks, flags
from mmkd.cli.class_checks import check_own_parts
from mmkd.cli.runner_checks import check_groups
from mmkd.errors import UserError
from mmkd.utils.configs import load_config

TELLS_NOTHING = re.compile(r'(epoch|iter)_\d+|best_.*|last|latest|final|model|checkpoint')
"""Names of checkpoints that training gives to all alike; the folder's name says more."""


@dataclass(frozen=True)
class Candidate:
    """A network to compare.

    Args:
        name: Stands in the table.
        config: As the user named it.
        checkpoint: A local file or a URL.
        cfg: The config as the user wrote it, but what is to be compared is among the keys of testing.
    """

    name: str
    config: str
    checkpoint: str
    cfg: Config


def candidates(
    pairs: Sequence[tuple[str, str]], names: Sequence[str] | None, split: str, options: dict | None = None
) -> list[Candidate]:
    """Read all configs, and find what would fail later.

    Args:
        pairs: A config and a checkpoint each.
        names: Of the candidates, if the user gives them.
        split: ``'test'`` or ``'val'``: whose data and evaluator count.
        options: Override keys of all configs.
    """
    if names is not None and (len(names) != len(pairs) or len(set(names)) != len(names)):
        raise UserError(f'--names: {len(pairs)} names are needed, one for each checkpoint, no two of them the same.')
    configs = [_config(*pair, split, options) for pair in pairs]
    names = names or unique_names([checkpoint for _, checkpoint in pairs])
    return [Candidate(name, *pair, cfg) for name, pair, cfg in zip(names, pairs, configs)]


def unique_names(checkpoints: Sequence[str]) -> list[str]:
    """A short name for each file: its own, or its folder's, or as much of the path as makes it unique."""
    paths = [PurePath(checkpoint).with_suffix('').parts for checkpoint in checkpoints]
    names = []
    for parts in paths:
        last = 2 if TELLS_NOTHING.fullmatch(parts[-1]) and len(parts) > 1 else 1
        names.append(parts[-last])
    longest = max(map(len, paths))
    for length in range(2, longest + 1):
        again = {name for name, count in Counter(names).items() if count > 1}
        names = ['/'.join(parts[-length:]) if name in again else name for name, parts in zip(names, paths)]
    seen: Counter[str] = Counter()
    for place, name in enumerate(names):  # the same file twice
        seen[name] += 1
        names[place] = name if seen[name] == 1 else f'{name} ({seen[name]})'
    return names


def _config(config: str, checkpoint: str, split: str, options: dict | None) -> Config:
    """The config with a split's data and evaluator for testing."""
    cfg = load_config(config)
    flags.apply_common(
        cfg, Namespace(config=config, cfg_options=copy.deepcopy(options), launcher='none', work_dir=None)
    )
    checks.check_keys(cfg, ('model', f'{split}_dataloader', f'{split}_cfg', f'{split}_evaluator'), 'comparing')
    checks.check_toolboxes(cfg)
    checks.check_checkpoint('compare', checkpoint, config)
    check_own_parts(cfg)
    check_groups(cfg)
    data_checks.check_data(cfg, (f'{split}_dataloader',))
    if split == 'val':
        cfg.test_dataloader, cfg.test_evaluator, cfg.test_cfg = cfg.val_dataloader, cfg.val_evaluator, {}
    return cfg
