"""Checks whether mmkd works on this machine."""

import os
import platform
import sys
from argparse import ArgumentParser
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module, metadata
from importlib.util import find_spec

MARKS = {True: 'ok', False: 'BAD', None: '-'}


@dataclass(frozen=True)
class Line:
    """A finding: what exists, and the fix if it is wrong (good is False) or missing (None)."""

    name: str
    said: str
    good: bool | None = True
    cure: str = ''


@dataclass(frozen=True)
class Toolbox:
    """A toolbox, the versions that mmkd was tried with, and the distributions that may provide it."""

    module: str
    versions: str
    distributions: tuple[str, ...]


TOOLBOXES = (
    Toolbox('mmpretrain', '>=1.2,<1.4', ('onedl-mmpretrain', 'mmpretrain')),
    Toolbox('mmdet', '>=3.3,<3.6', ('onedl-mmdetection', 'mmdet')),
)


def main() -> None:
    """Print the findings; the exit code is 1 if anything is wrong."""
    ArgumentParser(description='Tell what is installed, what is wrong, and the command that mends it.').parse_args()
    lines = []
    for line in examine():
        lines.append(line)
        print(f'{MARKS[line.good]:<4}{line.name:<12}{line.said}', flush=True)
        if line.cure:
            print(f'{"":<16}{line.cure}', flush=True)
    bad = [line.name for line in lines if line.good is False]
    print(f'\nTo mend: {", ".join(bad)}.' if bad else '\nmmkd can work here.')
    sys.exit(1 if bad else 0)


def examine() -> Iterator[Line]:
    """All findings in order; torch and the toolboxes are imported, which takes seconds."""
    version = sys.version_info[:2]
    known = (3, 10) <= version <= (3, 12)
    yield Line('Python', platform.python_version(), known, '' if known else 'Take Python 3.10 to 3.12.')
    try:
        check = import_module('mmkd.compat.versions')
    except ImportError as error:
        yield from _versions(getattr(error, 'findings', ()))
        yield Line('mmkd', 'cannot start', False, f'{error}')
        return
    yield from _versions(check.look())
    broken = [line for name in ('torch', 'mmengine', 'mmcv') for line in _broken(name)]
    yield from broken
    if broken:
        return
    yield _ops()
    yield from _toolboxes()
    yield from _devices()


def _versions(findings) -> Iterator[Line]:
    for finding in findings:
        said = ', '.join(f'{name} {version}' for name, version in finding.found.items()) or 'not installed'
        needed = finding.dependency
        yield Line(needed.module, f'{said} (needs {needed.versions})', not finding.problem, finding.problem or '')


def _broken(module: str) -> Iterator[Line]:
    """A finding if the module cannot be imported."""
    try:
        import_module(module)
    except Exception as error:  # a broken installation may raise anything
        said = str(error).partition('\n')[0]
        cure = f'Install it anew; python -c "import {module}" shows where it fails.'
        if 'libGL' in said:
            cure = 'pip install --force-reinstall --no-deps opencv-python-headless'
        yield Line(module, f'cannot be imported ({type(error).__name__}: {said})', False, cure)


def _ops() -> Line:
    spec = find_spec('mmcv._ext')
    if spec is None or str(spec.origin).endswith('mmcv_ext.py'):
        return Line('mmcv.ops', "not compiled; mmkd's own take their place, by torchvision and torch")
    return next(_broken('mmcv._ext'), Line('mmcv.ops', 'compiled'))


def _toolboxes() -> Iterator[Line]:
    found = {toolbox: _installed(toolbox.distributions) for toolbox in TOOLBOXES}
    family = 0 if _installed(('onedl-mmengine',)) else 1  # the forks, or OpenMMLab's own packages
    for toolbox, names in found.items():
        install = f'pip install "{toolbox.distributions[family]}{toolbox.versions}"'
        if not names:  # one of the two is enough
            yield Line(toolbox.module, 'not installed', None if any(found.values()) else False, install)
            continue
        said = f'{", ".join(f"{name} {version}" for name, version in names.items())} (tried with {toolbox.versions})'
        if len(names) > 1:
            remove = f'pip uninstall -y {" ".join(names)} && {install}'
            yield Line(toolbox.module, f'{said}: installed twice, which overwrite each other', False, remove)
            continue
        from packaging.specifiers import SpecifierSet  # may be missing where mmkd cannot be imported

        fits = SpecifierSet(toolbox.versions).contains(next(iter(names.values())), prereleases=True)
        yield Line(toolbox.module, said, fits, '' if fits else install)
        yield from _broken(toolbox.module)


def _installed(names: tuple[str, ...]) -> dict[str, str]:
    """The versions of those distributions that are installed."""
    found = {}
    for name in names:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def _devices() -> Iterator[Line]:
    try:
        import torch
    except Exception:  # reported above
        return
    yield Line('CPU', f'{os.cpu_count()} cores, {torch.get_num_threads()} threads of torch')
    for index in range(torch.cuda.device_count()):
        device = torch.cuda.get_device_properties(index)
        yield Line(f'GPU {index}', f'{device.name}, {device.total_memory / 2**30:.0f} GiB')
    if not torch.cuda.is_available():
        built = torch.version.cuda
        why = f'torch is built for CUDA {built} and finds no GPU' if built else 'this torch is built without CUDA'
        yield Line('GPU', f'none: {why}', None)
