"""Finds and describes the GPU that torch can use."""

import platform
import shutil
import subprocess

import torch

from mmkd.errors import UserError


def check_gpu() -> None:
    """Explain in one sentence why nothing can run on a GPU here."""
    if torch.version.cuda is None:
        raise UserError(
            f'torch {torch.__version__} is a build without CUDA; install one with CUDA, or try the steps '
            'on the CPU with --dry-run.'
        )
    try:
        torch.zeros(1, device='cuda')
    except (RuntimeError, AssertionError) as error:
        driver = driver_version()
        about = f'the driver {driver} is there' if driver else 'no NVIDIA driver answers'
        raise UserError(
            f'torch {torch.__version__} for CUDA {torch.version.cuda} finds no GPU that it can use ({about}: '
            f'{str(error).splitlines()[0].rstrip(".")}); try the steps on the CPU with --dry-run.'
        ) from error


def driver_version() -> str:
    """The version of NVIDIA's driver, empty if there is none."""
    program = shutil.which('nvidia-smi')
    if program is None:
        return ''
    command = [program, '--query-gpu=driver_version', '--format=csv,noheader']
    run = subprocess.run(command, capture_output=True, text=True, timeout=60)
    return run.stdout.strip().splitlines()[0] if run.returncode == 0 and run.stdout.strip() else ''


def description() -> dict:
    """What results on this machine depend on, besides :func:`surroundings`."""
    about: dict[str, object] = dict(python=platform.python_version(), cuda=torch.version.cuda)
    if torch.cuda.is_available():
        properties = torch.cuda.get_device_properties(0)
        about.update(
            driver=driver_version(),
            gpu_gib=round(properties.total_memory / 2**30, 1),
            capability='.'.join(map(str, torch.cuda.get_device_capability())),
            cudnn=torch.backends.cudnn.version(),
            tf32=dict(conv=torch.backends.cudnn.allow_tf32, matmul=torch.backends.cuda.matmul.allow_tf32),
        )
    return about
