"""Config files: found by local path or ``package::path``, and read with mistakes told in a sentence."""

import ast
from importlib.util import find_spec
from pathlib import Path
from unittest.mock import patch

import yaml
from mmengine.config import Config
from mmengine.config.utils import MODULE2PACKAGE, ConfigParsingError
from mmengine.fileio.handlers import yaml_handler
from yaml.constructor import ConstructorError

from mmkd.errors import UserError, did_you_mean


class _DataLoader(yaml.SafeLoader):
    """Reads YAML that holds data, and the tuples that mmengine writes."""


_DataLoader.add_constructor(
    'tag:yaml.org,2002:python/tuple', lambda loader, node: tuple(loader.construct_sequence(node, deep=True))
)


def load_config(path: str) -> Config:
    """Read the config at a local path or at ``package::path``, e.g. ``mmpretrain::resnet/resnet18_8xb32_in1k.py``."""
    file = find_config(path)
    _check_bases(file)
    try:
        with patch.object(yaml_handler, 'Loader', _DataLoader):  # mmengine's own runs what a YAML file says
            return Config.fromfile(file)
    except ConstructorError as error:
        raise UserError(
            f'config {path}: it holds more than data ({error.problem}); write it in Python, or leave that out.'
        ) from error
    except KeyError as error:
        if 'Duplicate key' not in str(error):
            raise
        raise UserError(
            f'config {path}: {error.args[0]}. Two files in one _base_ list may not define the same '
            'key; let one of them inherit from the other.'
        ) from error
    except ConfigParsingError as error:
        raise UserError(f'config {path}: {error}') from error


def find_config(path: str) -> Path:
    """The config's file, or an error that offers the nearest names."""
    package, separator, inner = str(path).rpartition('::')
    if not separator:
        file = Path(path).expanduser()
        if not file.is_file():
            raise UserError(_not_there('config', file))
        return file
    if package not in MODULE2PACKAGE:
        raise UserError(f'config {path}: unknown package {package}.{did_you_mean(package, MODULE2PACKAGE)}')
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise UserError(
            f'config {path}: {package} is not installed; run: pip install "mmkd[onedl]", or install the toolbox alone.'
        )
    folder = Path(spec.origin).parent / '.mim' / 'configs'
    file = folder / inner
    if not file.resolve().is_relative_to(folder.resolve()):
        raise UserError(f"config {path}: it lies outside of {package}'s configs; name its path instead.")
    if not file.is_file():
        raise UserError(_not_there(f'config {path}: {package} has no such config,', file))
    return file


def _check_bases(file: Path) -> None:
    """Every file of the inheritance chain can be parsed and found, told before mmengine stumbles over it."""
    if file.suffix != '.py':
        return
    try:
        tree = ast.parse(file.read_text(), str(file))
    except (SyntaxError, UnicodeDecodeError, ValueError) as error:
        line = f' in line {error.lineno}' if isinstance(error, SyntaxError) else ''
        raise UserError(f'config {file}: no valid Python{line} ({getattr(error, "msg", error)}).') from error
    for node in tree.body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], 'id', None) == '_base_':
            try:
                bases = ast.literal_eval(node.value)
            except ValueError:  # an expression, which only mmengine evaluates
                return
            for base in [bases] if isinstance(bases, str) else bases:
                _check_bases(_find_base(file, base))


def _find_base(file: Path, base: str) -> Path:
    try:
        return find_config(base if '::' in base else str(file.parent / base))
    except UserError as error:
        raise UserError(f'config {file}, in its _base_: {error}') from error


def _not_there(what: str, file: Path) -> str:
    """The sentence for a config that does not exist, with the nearest names around it."""
    folder = next((parent for parent in file.parents if parent.is_dir()), Path())
    names = {str(other.relative_to(folder)) for other in folder.glob('**/*.py')} if folder.name else set()
    return f'{what} {file} does not exist.{did_you_mean(str(file.relative_to(folder)), names)}'
