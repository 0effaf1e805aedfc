"""Trains every config in a folder, in the processes that torchrun starts, and records what happened."""

import sys
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.registry import MODELS
from mmengine.runner import Runner
from torch import nn
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import allreduce_hook

import mmkd  # noqa: F401
from mmkd.compat.cpu_nodes import prepare_cpu_node


@MODELS.register_module()
class NoNorm(nn.Identity):
    """Stands in for a norm and does nothing."""

    _abbr_ = 'none'


class Recorder(Hook):
    """Records what is trained and reduced, the learning rates, and the result."""

    priority = 'LOWEST'

    def __init__(self):
        self.iterations: list[dict] = []  # for each stage: sizes of what is trained and reduced, and rates
        self.ends: list[dict] = []  # the student's state after each epoch
        self.wrapper = None

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        distiller = runner.model.module if is_model_wrapper(runner.model) else runner.model
        self.now = dict(
            stages=getattr(distiller, 'current', ()),
            trained=sum(p.numel() for p in distiller.parameters() if p.requires_grad),
            reduced=0,
            rates=[group['lr'] for group in runner.optim_wrapper.param_groups],
        )
        self.iterations.append(self.now)
        if is_model_wrapper(runner.model) and runner.model is not self.wrapper:
            self.wrapper = runner.model
            self.now['finds_unused'] = runner.model.find_unused_parameters
            runner.model.register_comm_hook(None, self._reduce)

    def after_train_epoch(self, runner):
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        self.ends.append({name: value.clone() for name, value in model.state_dict().items()})

    def _reduce(self, state, bucket):
        self.now['reduced'] += bucket.buffer().numel()
        return allreduce_hook(None, bucket)


def train(cfg: Config) -> dict:
    """The records of one run."""
    runner = Runner.from_cfg(cfg)
    recorder = Recorder()
    runner.register_hook(recorder)
    runner.train()
    model = runner.model.module if is_model_wrapper(runner.model) else runner.model
    return dict(iterations=recorder.iterations, ends=recorder.ends, state=model.state_dict())


def main(folder: Path) -> None:
    wrapper = None
    for path in sorted(folder.glob('*.case')):
        cfg = Config(torch.load(path, weights_only=False))
        cfg.launcher = 'pytorch'
        if wrapper is None:
            prepare_cpu_node(cfg)
            wrapper = cfg.model_wrapper_cfg
        cfg.model_wrapper_cfg = wrapper
        torch.save(train(cfg), path.with_suffix(f'.rank{get_rank()}'))


if __name__ == '__main__':
    main(Path(sys.argv[1]))
