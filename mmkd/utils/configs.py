"""Config files: found by local path or ``package::path``, and read with one-sentence errors."""

import ast
from functools import cache
from importlib.util import find_spec
from os.path import isdir, isfile  # Path raises for names that are too long
from pathlib import Path
from typing import Any
from unittest.mock import patch

import yaml
from mmengine.config import Config
from mmengine.config import utils as config_utils
from mmengine.config.utils import MODULE2PACKAGE
from mmengine.fileio.handlers import yaml_handler
from yaml.constructor import ConstructorError

from mmkd.errors import UserError, did_you_mean, in_current_folder
from mmkd.utils.config_mistakes import FILE_TYPES, INHERITS_FROM_ITSELF, NO_PATH, why_unreadable


class _DataLoader(getattr(yaml, 'CSafeLoader', yaml.SafeLoader)):  # type: ignore[misc]
    """Reads YAML that holds data, and the tuples that mmengine writes; compiled where PyYAML is."""


_DataLoader.add_constructor(
    'tag:yaml.org,2002:python/tuple', lambda loader, node: tuple(loader.construct_sequence(node, deep=True))
)

_load_metafile = cache(config_utils.load)  # for each package::path, mmengine reads all metafiles of the toolbox


def load_config(path: str) -> Config:
    """Read the config at a local path or at ``package::path``, e.g. ``mmpretrain::resnet/resnet18_8xb32_in1k.py``."""
    file = find_config(path)
    _check_bases(file)
    try:
        with (
            patch.object(yaml_handler, 'Loader', _DataLoader),  # mmengine's own would run code in a YAML file
            patch.object(config_utils, 'load', _load_metafile),
        ):
            cfg = Config.fromfile(file)
        for key in set(cfg.keys()) - getattr(cfg, '_imported_names', set()):
            _import_named(cfg[key])
        return cfg
    except ConstructorError as error:
        raise UserError(
            f'config {path}: it holds more than data ({error.problem}); write it in Python, or leave that out.'
        ) from error
    except Exception as error:  # a config is code, which may raise anything
        raise UserError(f'config {path}: {why_unreadable(error)}') from error


def find_config(path: str) -> Path:
    """The config's file, or an error that proposes the nearest names."""
    package, separator, inner = str(path).rpartition('::')
    if not separator:
        file = Path(path).expanduser()
        if isdir(file):
            raise UserError(f'config {file}: it is a folder, not a file; name a config in it.')
        if not isfile(file):
            raise UserError(_not_there('config', file, in_current_folder(file)))
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
    if not isfile(file):
        raise UserError(_not_there(f'config {path}: {package} has no such config,', file))
    return file


def _import_named(node: Any) -> None:
    """Import the classes that a lazy config names now, instead of at the first access."""
    for inner in node.values() if isinstance(node, dict) else node if isinstance(node, list | tuple) else ():
        _import_named(inner)


def _check_bases(file: Path, heirs: tuple[Path, ...] = ()) -> None:
    """Check that every inherited file exists and can be parsed, before mmengine reads it."""
    if file.suffix not in FILE_TYPES:
        raise UserError(f'config {file}: a config must end with {", ".join(FILE_TYPES[:-1])} or {FILE_TYPES[-1]}.')
    if file.resolve() in heirs:
        raise UserError(f'config {file} {INHERITS_FROM_ITSELF}.')
    if file.suffix != '.py':  # with variables in it, which only mmengine fills in
        return
    try:
        tree = ast.parse(file.read_text(), str(file))
    except (SyntaxError, UnicodeDecodeError, ValueError) as error:
        line = f' in line {error.lineno}' if isinstance(error, SyntaxError) and error.lineno else ''
        raise UserError(f'config {file}: no valid Python{line} ({getattr(error, "msg", error)}).') from error
    for node in tree.body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], 'id', None) == '_base_':
            try:
                bases = ast.literal_eval(node.value)
            except ValueError:  # an expression, which only mmengine evaluates
                return
            paths = bases if isinstance(bases, list | tuple) else [bases]
            if not all(isinstance(base, str) for base in paths):
                raise UserError(f'config {file}, in its _base_: {NO_PATH}, not {bases!r}.')
            for base in paths:
                _check_bases(_find_base(file, base), (*heirs, file.resolve()))


def _find_base(file: Path, base: str) -> Path:
    try:
        return find_config(base if '::' in base else str(file.parent / base))
    except UserError as error:
        raise UserError(f'config {file}, in its _base_: {error}') from error


def _not_there(what: str, file: Path, where: str = '') -> str:
    """The error for a config that does not exist, with the nearest names around it."""
    folder = next((parent for parent in file.parents if isdir(parent)), Path())
    patterns = ('*.py', '*/*.py') if folder.name else ('*.py',)  # below a home folder may lie millions of images
    names = [name for pattern in patterns for name in folder.glob(pattern)]
    near = did_you_mean(str(file.relative_to(folder)), {str(name.relative_to(folder)) for name in names})
    return f'{what} {file} does not exist{where}.{near}'
