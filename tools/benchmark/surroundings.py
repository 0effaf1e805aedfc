"""The environment of a measurement: device, versions, commit and date."""

import os
import subprocess
from datetime import date
from importlib.metadata import PackageNotFoundError, version

import torch
from files import ROOT
from mmengine.device import get_device

PACKAGES = ('torch', 'onedl-mmengine', 'mmengine', 'onedl-mmpretrain', 'mmpretrain', 'onedl-mmdetection', 'mmdet')


def surroundings() -> dict:
    """Device, versions, commit and date."""
    cpu = f'CPU, {os.cpu_count()} cores, {os.environ.get("OMP_NUM_THREADS", "all")} of them for a training'
    return dict(
        device=torch.cuda.get_device_name() if get_device() == 'cuda' else cpu,
        versions=', '.join(f'{name} {number}' for name in PACKAGES if (number := installed(name))),
        commit=commit(),
        date=date.today().isoformat(),
    )


def commit() -> str:
    """The commit of the working tree, and whether anything but its docs differs.

    ``MMKD_COMMIT`` names it for copies without history.
    """
    if told := os.environ.get('MMKD_COMMIT'):
        return told
    try:
        head, changes = (
            subprocess.run(['git', *words], cwd=ROOT, capture_output=True, text=True).stdout.strip()
            for words in (
                ['rev-parse', '--short', 'HEAD'],
                ['status', '--porcelain', '--untracked-files=no', '--', '.', ':!docs'],
            )
        )
    except OSError:  # git is not installed
        return ''
    return f'{head} with changes' if changes else head


def installed(name: str) -> str | None:
    """The version of a package."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None
