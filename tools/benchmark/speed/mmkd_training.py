"""A training of mmkd: the Runner's whole loop with its hooks, one iteration at a time."""

import copy
from argparse import Namespace
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.runner import IterBasedTrainLoop, Runner
from pairs import Pair

from mmkd.cli.default_hooks import SCHEDULE
from mmkd.cli.flags import apply_training
from mmkd.distillers.base import Distiller
from mmkd.utils.configs import load_config

MANY = 10**6  # iterations: no stage ends during the measurement


class SteppedLoop(IterBasedTrainLoop):
    """A loop that starts as usual and then waits for :meth:`step`; its data are one preloaded batch."""

    def run(self) -> None:
        """Begin, without any iteration."""
        self.batch = next(self.dataloader_iterator)
        self.runner.call_hook('before_train')
        self.runner.call_hook('before_train_epoch')
        self.runner.model.train()

    def step(self) -> None:
        """Run one iteration, from the batch to the changed weights, with every hook.

        Not with ``model.train()``: in the epoch loops of these configs that comes once an epoch.
        """
        self.run_iter(self.batch)

    def go_to(self, iteration: int) -> None:
        """Set the iteration, so that the schedule enters its stage at the next step."""
        self._iter = iteration


class MmkdTraining:
    """A training of mmkd.

    Args:
        pair: Which networks.
        method: The class of a distiller, such as ``'SSKD'``.
        work_dir: For the log.
        batch: Images in an iteration.
        amp: The type of automatic mixed precision, if it is used.
        fused: Whether the optimizer's step is one kernel.
        options: Other arguments of the distiller.
    """

    def __init__(
        self,
        pair: Pair,
        method: str,
        work_dir: Path,
        batch: int,
        amp: str | None = None,
        fused: bool = False,
        **options: Any,
    ):
        cfg = _config(pair, method, batch, options)
        if fused:
            cfg.optim_wrapper.optimizer.fused = True
        if amp:
            apply_training(cfg, Namespace(no_validate=False, amp=True, amp_dtype=amp, auto_scale_lr=False, resume=None))
        cfg.work_dir = str(work_dir)
        cfg.experiment_name = work_dir.name  # mmengine's logger depends on the name and the second
        self.runner = Runner.from_cfg(cfg)
        self.plain_teacher = copy.deepcopy(self.runner.model.teacher.network)  # before its norms are folded
        self.runner.train()
        self.loop: SteppedLoop = self.runner.train_loop
        self.distiller: Distiller = self.runner.model
        self.hook = next(hook for hook in self.runner.hooks if type(hook).__name__ == 'StageScheduleHook')

    def keep_on_device(self) -> None:
        """Move the batch beforehand, as for the rivals: copying is not measured."""
        self.loop.batch = self.distiller.data_preprocessor.cast_data(self.loop.batch)

    @property
    def phases(self) -> list[str]:
        """The names of the phases, in order."""
        return [self.hook.schedule.name(index) for index in range(len(self.hook.schedule.phases))]

    def enter(self, phase: str) -> None:
        """Enter a phase."""
        self.loop.go_to(self.hook.schedule.starts[self.phases.index(phase)])
        self.loop.step()

    def step(self) -> None:
        """Run one iteration."""
        self.loop.step()

    @property
    def phase(self) -> str:
        """The names that are being learned."""
        return self.hook.position.name

    def twin_optimizer(self, parameters: list) -> torch.optim.Optimizer:
        """A new optimizer of the same kind with the same options as the phase's."""
        twin = type(self.optimizer)(parameters)
        for group in twin.param_groups:
            group.update(self.optimizer.defaults)
        return twin

    @property
    def optimizer(self) -> torch.optim.Optimizer:
        """The optimizer of the phase."""
        return self.runner.optim_wrapper.optimizer

    def processed(self) -> tuple[torch.Tensor, list]:
        """The batch after preprocessing."""
        batch = self.distiller.data_preprocessor(self.loop.batch, training=False)
        return batch['inputs'], batch['data_samples']


def _config(pair: Pair, method: str, batch: int, options: dict) -> Config:
    """The shipped config with random images and weights, without validation and saving."""
    cfg = load_config(pair.config)
    student, teacher = cfg.model.student, load_config(cfg.model.teacher.config)
    for model in (student, teacher.model):
        model.backbone.pop('init_cfg', None)  # no weights from the internet
        if 'norm_eval' in model.backbone:
            model.backbone.update(norm_eval=False, frozen_stages=-1)  # a student from scratch trains all of its weights
        if not pair.boxes:
            model.pop('train_cfg', None)  # batch augmentations, which are random
    cfg.model = dict(
        type=f'mmkd.{method}', student=student, teacher=dict(config=dict(teacher), checkpoint=None), **options
    )
    images = dict(type='mmkd.RandomImages', size=pair.size, classes=pair.classes, boxes=pair.boxes)
    cfg.train_dataloader = dict(
        batch_size=batch, num_workers=0, sampler=dict(type='InfiniteSampler', shuffle=False), dataset=images
    )
    if not pair.boxes:
        cfg.train_dataloader.collate_fn = dict(type='default_collate')  # tools/train.py does this
    cfg.train_cfg = dict(type=SteppedLoop, max_iters=MANY)
    cfg.param_scheduler = [dict(type='LinearLR', start_factor=0.5, by_epoch=False, begin=0, end=MANY)]
    cfg.optim_wrapper.optimizer.lr = 1e-5  # untrained networks would diverge at the recipe's rate
    cfg.default_hooks.stages = dict(SCHEDULE, unfreeze_last=False)  # the head alone is a phase with its own cost
    for name in ('val_dataloader', 'val_cfg', 'val_evaluator', 'test_dataloader', 'test_cfg', 'test_evaluator'):
        cfg[name] = None
    cfg.default_hooks.checkpoint = None
    cfg.default_hooks.pop('visualization', None)
    cfg.custom_hooks = []
    cfg.visualizer = None
    cfg.log_level = 'WARNING'
    cfg.randomness = dict(seed=0)
    return cfg
