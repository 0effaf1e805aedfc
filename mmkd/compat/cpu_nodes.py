"""Distributed runs on machines without a GPU."""

import atexit
import os
import sys
from unittest.mock import patch

import torch
import torch.distributed
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.dist import init_dist
from mmengine.utils.dl_utils import set_multi_processing


def prepare_cpu_node(cfg: Config) -> None:
    """Start the process group over gloo and keep DDP off GPU indices, where there is no GPU.

    mmengine's launchers call ``torch.cuda.set_device`` whatever the backend, which raises without a
    driver; the Runner leaves a process group alone that exists already. It sets up multiprocessing before it makes one,
    and so must we: ``init_dist`` would choose another way to start workers first.
    """
    if cfg.launcher == 'none' or get_device() != 'cpu':
        return
    env_cfg = cfg.get('env_cfg', {})
    set_multi_processing(**env_cfg.get('mp_cfg', {}), distributed=True)
    options = dict(env_cfg.get('dist_cfg', {}), backend='gloo')
    with patch.object(torch.cuda, 'set_device'):
        init_dist(cfg.launcher, **options)
    atexit.register(_leave_group)
    if cfg.get('model_wrapper_cfg') is None:
        cfg.model_wrapper_cfg = dict(
            type='MMDistributedDataParallel',
            broadcast_buffers=False,
            find_unused_parameters=cfg.get('find_unused_parameters', False),
        )
    cfg.model_wrapper_cfg.setdefault('device_ids', None)


def leave(code: int = 0) -> None:
    """End a finished process without an interpreter shutdown, which gloo's threads may not survive.

    A gloo thread may still free the tensors of the last collective call, which takes Python's lock. Python ends a
    thread that asks for the lock during shutdown, and C++ then aborts the process: a successful training would exit
    with SIGABRT. Without a process group this does nothing.
    """
    if torch.distributed.is_initialized() and torch.distributed.get_backend() == 'gloo':
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _leave_group() -> None:
    """Run what Python runs at its end, before the process ends."""
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
