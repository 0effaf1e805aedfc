"""Saves a teacher's trained heads in a file, and loads them for other students."""

from typing import Any

from torch import nn

from mmkd.checkpoints.atomic_files import save_whole
from mmkd.checkpoints.safe_load import load_named
from mmkd.errors import UserError

KEY = 'teacher_heads'  # the key in the file, and in a checkpoint's extras


def save_heads(checkpoint: str, path: str) -> int:
    """Write the teacher's heads of an MHKD checkpoint into a file; return how many tensors they have."""
    extras = _load('checkpoint', checkpoint).get('mmkd', {}).get('extras', {})
    heads = {name.removeprefix(f'{KEY}.'): value for name, value in extras.items() if name.startswith(f'{KEY}.')}
    if not heads:
        raise UserError(f"{checkpoint} holds no teacher's heads; name a checkpoint that an mmkd.MHKD training wrote.")
    save_whole(path, {KEY: heads})
    return len(heads)


def load_heads(heads: nn.Module, path: str) -> None:
    """Load a file that :func:`save_heads` wrote; raise an error if it does not fit."""
    key = 'model.teacher_heads'
    state, own = _load(key, path).get(KEY), heads.state_dict()
    if not isinstance(state, dict):
        raise UserError(f"{key}: {path} holds no teacher's heads; make it with tools/save_teacher_heads.py.")
    wrong = [f'{name} (missing)' for name in own if name not in state]
    wrong += [f'{name} (unknown)' for name in state if name not in own]
    wrong += [
        f'{name} ({tuple(state[name].shape)} instead of {tuple(value.shape)})'
        for name, value in own.items()
        if name in state and state[name].shape != value.shape
    ]
    if wrong:
        more = f' and {len(wrong) - 8} more' if len(wrong) > 8 else ''
        raise UserError(
            f'{key}: {path} does not fit: {", ".join(wrong[:8])}{more}. '
            'The teacher, model.heads, model.attach and the classes must be those that the file was made with.'
        )
    heads.load_state_dict(state)


def _load(key: str, path: str) -> dict[str, Any]:
    content = load_named(key, path)
    if not isinstance(content, dict):
        raise UserError(f'{key}: {path} is no checkpoint but a {type(content).__name__}.')
    return content
