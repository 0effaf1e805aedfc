"""Several runs: which differ in the seed only, and whether they can be compared at all."""

import json
import re
from dataclasses import dataclass
from itertools import takewhile
from pathlib import PurePath
from typing import Any

from mmkd.errors import UserError
from mmkd.reporting.run import Run
from mmkd.reporting.settings import comparable, flat

SEED = 'randomness.seed'


@dataclass
class Group:
    """Runs that differ in the seed only."""

    name: str
    runs: list[Run]

    @property
    def method(self) -> str:
        """Of all of them."""
        return self.runs[0].method


def group_runs(runs: list[Run]) -> list[Group]:
    """The runs by what they have in common, in the order of their first ones."""
    alike: dict[str, list[Run]] = {}
    for run in runs:
        learned = {key: value for key, value in comparable(run.settings).items() if key != SEED}
        alike.setdefault(json.dumps(learned, sort_keys=True, default=str), []).append(run)
    groups = [Group(_common_name(members), members) for members in alike.values()]
    names = [group.name for group in groups]
    if len(set(names)) < len(names):
        for group in groups:
            group.name = group.runs[0].name
    return groups


def name_apart(runs: list[Run]) -> None:
    """Give runs of equal names as much of their paths as they need."""
    for depth in range(2, 6):
        names = [run.name for run in runs]
        for run in runs:
            if names.count(run.name) > 1:
                run.name = '/'.join(run.folder.resolve().parts[-depth:])


def _common_name(members: list[Run]) -> str:
    if len(members) == 1:
        return members[0].name
    letters = zip(*(run.name for run in members))
    common = ''.join(same[0] for same in takewhile(lambda some: len(set(some)) == 1, letters))
    return re.sub(r'([_\-./](seed|s)?[_\-]?|[_\-./]seed)\d*$', '', common) or members[0].name


def check_same_data(runs: list[Run]) -> None:
    """Raise an error if two runs were validated on different images or classes."""
    first = runs[0]
    for run in runs[1:]:
        own, theirs = _data(first), _data(run)
        for key in dict.fromkeys([*own, *theirs]):
            if not _same(own.get(key), theirs.get(key)):
                raise UserError(
                    f'{first.folder} and {run.folder} were validated on different data ({key}: {own.get(key)} and '
                    f'{theirs.get(key)}), so their figures cannot be compared; give each a report of its own.'
                )
        if first.metrics and run.metrics and not set(first.metrics) & set(run.metrics):
            raise UserError(
                f'{first.folder} and {run.folder} have no metric in common ({", ".join(first.metrics[:3])}; '
                f'{", ".join(run.metrics[:3])}); give each a report of its own.'
            )


def _data(run: Run) -> dict[str, Any]:
    """What says which images and classes a run was validated on."""
    dataset = dict(run.settings.get('val_dataloader') or {}).get('dataset') or {}
    found = {f'val_dataloader.dataset.{key}': value for key, value in flat(dataset) if '.pipeline' not in f'.{key}'}
    classes = {f'model.{key}': value for key, value in flat(run.student) if key.endswith('head.num_classes')}
    return {**found, **classes}


def _same(own: Any, theirs: Any) -> bool:
    """Whether two settings are the same; of paths one may be longer at its beginning."""
    if isinstance(own, str) and isinstance(theirs, str):
        parts = sorted((PurePath(own).parts, PurePath(theirs).parts), key=len)
        return parts[1][len(parts[1]) - len(parts[0]) :] == parts[0]
    return own == theirs
