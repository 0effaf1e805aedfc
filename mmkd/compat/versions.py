"""Checks the versions of mmkd's dependencies by the packages' metadata, without importing them."""

from dataclasses import dataclass
from importlib import metadata

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from mmkd.errors import UserError


@dataclass(frozen=True)
class Dependency:
    """A module that mmkd needs, and the distributions that may provide it; errors propose the first."""

    module: str
    versions: str
    distributions: tuple[str, ...]


DEPENDENCIES = (
    Dependency('torch', '>=2.5', ('torch',)),
    Dependency('torchvision', '>=0.20', ('torchvision',)),
    Dependency('mmengine', '>=0.10.4,<1.0', ('onedl-mmengine', 'mmengine', 'mmengine-lite')),
    Dependency('mmcv', '>=2.1,<2.4', ('onedl-mmcv', 'mmcv', 'mmcv-lite')),
)


@dataclass(frozen=True)
class Finding:
    """What is installed of a dependency, by the names of distributions, and what is wrong with it."""

    dependency: Dependency
    found: dict[str, str]
    problem: str | None


class VersionError(UserError, ImportError):
    """A dependency is missing, or its version does not fit.

    Args:
        message: All that is wrong, and the command that fixes it.
        findings: Of all dependencies.
    """

    def __init__(self, message: str, findings: list[Finding]):
        super().__init__(message)
        self.findings = findings


def check_versions() -> None:
    """Raise one error that names everything that is wrong and the command that fixes it."""
    findings, remove, install = look(), [], []
    problems = [finding.problem for finding in findings if finding.problem]
    for finding in findings:
        if finding.problem:
            dependency, found = finding.dependency, finding.found
            remove += [name for name in found if len(found) > 1 or name != dependency.distributions[0]]
            install.append(f'"{dependency.distributions[0]}{dependency.versions}"')
    if problems:
        command = f'pip install {" ".join(install)}'
        if remove:
            command = f'pip uninstall -y {" ".join(remove)} && {command}'
        raise VersionError(f'mmkd cannot start: {"; ".join(problems)}. To fix it run: {command}', findings)


def look() -> list[Finding]:
    """What is installed of each dependency."""
    found = {dependency: _installed(dependency.distributions) for dependency in DEPENDENCIES}
    return [Finding(dependency, names, _problem(dependency, names)) for dependency, names in found.items()]


def _installed(distributions: tuple[str, ...]) -> dict[str, str]:
    found = {}
    for name in distributions:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def _problem(dependency: Dependency, found: dict[str, str]) -> str | None:
    if not found:
        return f'{dependency.module} is not installed (needs {dependency.versions})'
    if len(found) > 1:
        return f'{dependency.module} is installed twice, by {" and ".join(found)}, which overwrite each other'
    ((name, version),) = found.items()
    if not SpecifierSet(dependency.versions).contains(version, prereleases=True):
        return f'{name} {version} does not fit (needs {dependency.versions})'
    torch_version = _installed(('torch',)).get('torch')
    if torch_version is None:
        return None
    if dependency.module == 'torchvision':
        return _torchvision_problem(version, torch_version)
    if name == 'mmengine' and Version(torch_version) >= Version('2.6'):
        return f'mmengine {version} cannot load its checkpoints with torch {torch_version} (needs torch<2.6)'
    return None


def _torchvision_problem(version: str, torch_version: str) -> str | None:
    """A torchvision made for another torch imports, then lacks its ops (``torchvision::nms does not exist``)."""
    for requirement in map(Requirement, metadata.requires('torchvision') or ()):
        if requirement.name == 'torch' and not requirement.specifier.contains(torch_version, prereleases=True):
            return f'torchvision {version} needs torch{requirement.specifier}, but torch {torch_version} is installed'
    return None
