"""Reads the config that a run left in its work dir, as data: nothing in it is run."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mmkd.errors import UserError

UNTOLD = re.compile(
    r'(work_dir|resume|load_from|log_level|launcher|experiment_name|filename|trust_checkpoints'
    r'|(default_hooks|env_cfg|visualizer|vis_backends|log_processor)(\.(?!stages\b).*|\.stages\.type)?'
    r'|test_(cfg|dataloader|evaluator)\b.*|.*\b_scope_|.*(pin_memory|persistent_workers|num_workers))$'
)
"""Keys that say where and how a run was started, not what was learned."""

PARTS = ('default_hooks', 'randomness', 'train_cfg', 'train_dataloader', 'val_dataloader')
"""What is read of a config beside the model; each is a dict, or as good as missing."""


def read_settings(file: Path) -> dict:
    """The config as plain data.

    Raises:
        UserError: It cannot be read.
    """
    try:
        tree = ast.parse(file.read_text())
    except (OSError, SyntaxError, ValueError) as error:
        raise UserError(f'{file}: the config of the run cannot be read ({error}); was it cut off?') from error
    settings = {
        node.targets[0].id: _value(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
    }
    for key in PARTS:
        if not isinstance(settings.get(key), dict):
            settings.pop(key, None)
    model = settings.get('model')
    if not isinstance(model, dict) or not isinstance(model.get('student', model), dict):
        raise UserError(f'{file}: it is no config of a training, for it has no model.')
    return settings


def _value(node: ast.expr) -> Any:
    """A literal, with ``dict(...)`` for dicts as mmengine writes them; anything else as its text."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == 'dict' and not node.args:
        pairs: dict[str, Any] = {}
        for word in node.keywords:
            inner = _value(word.value)
            pairs.update({word.arg: inner} if word.arg else inner)
        return pairs
    if isinstance(node, ast.Dict):
        return {_value(key): _value(value) for key, value in zip(node.keys, node.values) if key is not None}
    if isinstance(node, ast.List | ast.Tuple):
        items = [_value(item) for item in node.elts]
        return items if isinstance(node, ast.List) else tuple(items)
    try:
        return ast.literal_eval(node)
    except ValueError:
        return ast.unparse(node)


def flat(node: Any, path: str = '') -> Iterator[tuple[str, Any]]:
    """Every setting with its dotted key; a list of plain values is one setting."""
    if isinstance(node, dict) and node:
        for key, value in node.items():
            yield from flat(value, f'{path}.{key}' if path else str(key))
    elif isinstance(node, list | tuple) and any(isinstance(item, dict | list | tuple) for item in node):
        for place, value in enumerate(node):
            yield from flat(value, f'{path}.{place}')
    else:
        yield path, node


def comparable(settings: dict) -> dict[str, Any]:
    """What was learned from what, flat; the student of a distillation stands where a model alone does."""
    model = settings['model']
    distilled = 'student' in model
    student = dict(model['student'] if distilled else model)
    method = {key: value for key, value in model.items() if key != 'student'} if distilled else {}
    rest = {key: value for key, value in settings.items() if key != 'model'}
    told = {key: value for key, value in flat({**rest, 'student': student}) if not UNTOLD.match(key)}
    return {**dict(flat(method, 'model')), **told} if method else told
