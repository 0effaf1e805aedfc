"""Explains why a config file cannot be read."""

import json
from traceback import walk_tb
from types import FrameType

import yaml
from mmengine.config.utils import ConfigParsingError

from mmkd.errors import did_you_mean, in_one_line

FILE_TYPES = ('.py', '.yaml', '.yml', '.json')
INHERITS_FROM_ITSELF = 'inherits from itself, at once or through other files; name in its _base_ what it should inherit'
NO_PATH = 'it must be a path or a list of paths'


def why_unreadable(error: Exception) -> str:
    """The mistake with its file and line, read from the frames of mmengine's parser."""
    frames = [pair for link in _chain(error) for pair in walk_tb(link.__traceback__)]
    running = {frame.f_code.co_name: frame for frame, _ in frames}
    if isinstance(error, RecursionError):
        return f'the file {INHERITS_FROM_ITSELF}.'
    if isinstance(error, yaml.MarkedYAMLError):
        line = f' in line {error.problem_mark.line + 1}' if error.problem_mark else ''
        return f'it is no valid YAML ({error.problem}{line}).'
    if isinstance(error, json.JSONDecodeError):
        return f'it is no valid JSON ({error.msg} in line {error.lineno}).'
    if isinstance(error, KeyError) and 'Duplicate key' in str(error):
        return (
            f'{error.args[0]}. Two files in one _base_ list may not define the same key; '
            'let one of them inherit from the other.'
        )
    if isinstance(error, KeyError) and '_substitute_base_vars' in running:
        return _unknown_variable(error.args[0], running['_substitute_base_vars'])
    if '_get_cfg_path' in running and isinstance(error, TypeError):
        return f'its _base_ names {running["_get_cfg_path"].f_locals["cfg_path"]!r}; {NO_PATH}.'
    if '_get_base_files' in running and isinstance(error, AttributeError):
        content = running['_get_base_files'].f_locals['cfg_dict']
        return f'it must hold keys and values, not {"nothing" if content is None else f"a {type(content).__name__}"}.'
    if 'import_modules_from_strings' in running:
        reason = in_one_line(_chain(error)[0])
        return f'custom_imports: {reason}; put the folder that holds the module into PYTHONPATH.'
    if isinstance(error, ConfigParsingError | FileNotFoundError | ImportError) and '<module>' not in running:
        return f'{str(error).partition(chr(10))[0].rstrip(".")}.'
    where = [(frame.f_code.co_filename, line) for frame, line in frames if frame.f_code.co_name == '<module>']
    place = f'line {where[-1][1]} of {where[-1][0]}' if where and where[-1][0] else 'it'
    return f'{place} cannot be read ({in_one_line(error)}).'


def _unknown_variable(key: str, frame: FrameType) -> str:
    """A placeholder names a variable that the inherited files do not define."""
    known = frame.f_locals
    text = next(text for text in (known.get('v'), known['cfg']) if isinstance(text, str))
    near = did_you_mean(str(key), map(str, known['new_v']))
    return f'{{{{_base_.{known["base_var_dict"][text]}}}}} asks for {key}, which the files in _base_ do not have.{near}'


def _chain(error: BaseException) -> list[BaseException]:
    """The first error in the chain that led to this one."""
    before = error.__cause__ or error.__context__
    return [error] if before is None else [*_chain(before), error]
