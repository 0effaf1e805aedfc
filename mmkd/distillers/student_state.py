"""The state dict of a distiller is the plain student's."""

from typing import Any

from torch import nn

_STUDENT = 'student.'


def save_and_load_as_student(distiller: nn.Module) -> None:
    """Let a distiller save and load its ``student`` under the plain names, and leave its ``extras`` out.

    By hooks: mmengine saves and loads without calling the overridable methods.
    """
    distiller.register_state_dict_post_hook(_keep_student)
    distiller.register_load_state_dict_pre_hook(_from_student)
    distiller.register_load_state_dict_post_hook(_miss_no_extras)


def _keep_student(module: nn.Module, state: dict, prefix: str, local_metadata: dict) -> None:
    """Remove the prefix from the student's keys."""
    for key in [key for key in state if key.startswith(prefix)]:
        value = state.pop(key)
        if key.startswith(prefix + _STUDENT):
            state[prefix + key[len(prefix + _STUDENT) :]] = value


def _from_student(module: nn.Module, state: dict, prefix: str, *args: Any) -> None:
    """Add the prefix to plain keys, unless the caller loads by names of modules, as mmdet's SyncNormHook does."""
    kinds = (module.named_parameters, module.named_buffers)
    own = {prefix + name for kind in kinds for name, _ in kind() if name.startswith((_STUDENT, 'extras.'))}
    for key in [key for key in state if key.startswith(prefix) and key not in own]:
        state[prefix + _STUDENT + key[len(prefix) :]] = state.pop(key)


def _miss_no_extras(module: nn.Module, incompatible_keys: Any) -> None:
    """Missing keys of the extras are ignored, since extras are saved elsewhere; other keys lose the prefix."""
    missing = incompatible_keys.missing_keys
    missing[:] = [key.replace(_STUDENT, '', 1) for key in missing if 'extras.' not in key]
