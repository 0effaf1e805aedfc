"""Which stage is learned when."""

import copy
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate

from mmengine.dist import all_reduce_params
from mmengine.hooks import Hook
from mmengine.model import BaseModel, is_model_wrapper
from mmengine.runner import EpochBasedTrainLoop, Runner

from mmkd.budget import default_fractions, split_budget
from mmkd.distillers.base import Distiller
from mmkd.errors import UserError, did_you_mean
from mmkd.hooks.loss_guard import LossGuard
from mmkd.hooks.stage_validation import BestStage, validate_mimic
from mmkd.optim import build_stage_optim_wrapper, compress
from mmkd.random_state import own_randomness, resume_randomness, state_for_resume
from mmkd.registry import HOOKS

KEY = 'mmkd'  # of a checkpoint: what is needed to go on, besides the student


@HOOKS.register_module()
class StageScheduleHook(Hook):
    """Splits the student's own training budget into stages and learns one after the other.

    At the start of each, everything but the stage is frozen, and optimizer, schedulers and the DDP wrapper are built
    anew from the student's own config; its learning rate policy is replayed within the stage.

    Args:
        stages (Sequence, optional): Names of the stages to learn, in this order; a list of names in it is learned
            together. Defaults to every stage and then the head.
        fractions (Sequence[float], optional): Each stage's part of the budget. Defaults to one half for the head and
            equal parts for the others.
        overrides (dict[str, dict], optional): Changes of the optimizer's config in single stages, e.g.
            ``dict(head=dict(lr=0.01))``.
        unfreeze_last (bool): Learn every parameter with the head. Defaults to False.
        keep_best (bool): End each stage with its state of the lowest validation mimic loss. Defaults to False.

    Example:
        >>> default_hooks = dict(stages=dict(type='mmkd.StageScheduleHook'))
    """

    priority = 5  # before RuntimeInfoHook (10), which would log the last stage's learning rate

    def __init__(
        self,
        stages: Sequence | None = None,
        fractions: Sequence[float] | None = None,
        overrides: dict[str, dict] | None = None,
        unfreeze_last: bool = False,
        keep_best: bool = False,
    ):
        self.stages = stages
        self.fractions = fractions
        self.overrides = overrides or {}
        self.unfreeze_last = unfreeze_last
        self.best = BestStage() if keep_best else None
        self.guard = LossGuard()
        self.index = -1  # of the stage at hand; before the first
        self.resumed: dict | None = None

    def before_run(self, runner: Runner) -> None:
        """Plan."""
        model = _unwrap(runner.model)
        if not isinstance(model, Distiller):
            raise UserError('default_hooks.stages: model is no distiller; set model.type to one, e.g. mmkd.SSKD.')
        self.distiller = model
        with own_randomness():
            batch = runner.train_dataloader.collate_fn([runner.train_dataloader.dataset[0]] * 2)
            inputs = self.distiller.data_preprocessor(batch, False)['inputs']
            self.distiller.prepare(inputs)
        self.by_epoch = isinstance(runner.train_loop, EpochBasedTrainLoop)
        self.total = runner.max_epochs if self.by_epoch else runner.max_iters
        self.phases = self._phases()
        names = ['+'.join(phase) for phase in self.phases]
        fractions = self.fractions or default_fractions(names, self.distiller.plan.head.name in self.phases[-1])
        self.lengths = split_budget(self.total, names, fractions, 'epochs' if self.by_epoch else 'iterations')
        self.starts = [0, *accumulate(self.lengths)][:-1]
        heads = [start for start, phase in zip(self.starts, self.phases) if self.distiller.plan.head.name in phase]
        runner.train_loop.val_begin = max(runner.train_loop.val_begin, (heads[0] if heads else self.total) + 1)
        self._log_plan(runner, names)

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """On resume: enter the stage that was saved, before its optimizer and schedulers are loaded."""
        if not runner._resume:
            return
        self.resumed = checkpoint.get(KEY)
        if self.resumed is None:
            raise UserError('--resume: the checkpoint holds a plain model and no stage; start from it with load_from.')
        phases = [tuple(phase) for phase in self.resumed['phases']]
        if phases != self.phases or self.resumed['lengths'] != self.lengths:
            raise UserError(
                f'--resume: the checkpoint was made with the stages {phases} of lengths {self.resumed["lengths"]}, '
                f'the config now says {self.phases} of lengths {self.lengths}; resume with the config that made it.'
            )
        self._enter(runner, self.resumed['index'])
        self.distiller.extras.load_state_dict(self.resumed['extras'])
        if self.best is not None and self.resumed['best'] is not None:
            self.best.loss, self.best.state = self.resumed['best']

    def before_train(self, runner: Runner) -> None:
        """Begin with the first stage, or go on within the resumed one."""
        if self.resumed is None:
            self._enter(runner, 0)
            return
        epoch_length = len(runner.train_dataloader) if self.by_epoch else 1
        runner.optim_wrapper.initialize_count_status(
            runner.model,
            runner.iter - self.starts[self.index] * epoch_length,
            self.lengths[self.index] * epoch_length,
        )
        resume_randomness(runner, self.resumed['random'])

    def before_train_epoch(self, runner: Runner) -> None:
        """A stage may begin with an epoch."""
        if self.by_epoch:
            self._advance(runner, runner.epoch)

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch=None) -> None:
        """A stage may begin with an iteration."""
        if not self.by_epoch:
            self._advance(runner, runner.iter)

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch=None, outputs: dict | None = None) -> None:
        """Watch the loss, and the validation's mimic loss in iteration loops."""
        if outputs is not None and 'loss' in outputs:
            self.guard.see(outputs['loss'], self.name, runner.iter)
        if not self.by_epoch:
            self._validate(runner, runner.iter + 1)

    def after_train_epoch(self, runner: Runner) -> None:
        """Watch the validation's mimic loss in epoch loops."""
        if self.by_epoch:
            self._validate(runner, runner.epoch + 1)

    def after_train(self, runner: Runner) -> None:
        """The last stage ends."""
        self.guard.check(self.name, runner.iter)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Add what is needed to go on; refuse to save after a bad loss."""
        self.guard.check(self.name, runner.iter)
        checkpoint[KEY] = dict(
            index=self.index,
            phases=self.phases,
            lengths=self.lengths,
            extras={key: value.cpu() for key, value in self.distiller.extras.state_dict().items()},
            random=state_for_resume(runner, checkpoint),
            best=None if self.best is None else (self.best.loss, self.best.state),
        )

    @property
    def name(self) -> str:
        """Of the stage at hand."""
        return '+'.join(self.phases[max(self.index, 0)])

    def _phases(self) -> list[tuple[str, ...]]:
        """The names of the stages that are learned together, one tuple after the other."""
        names = [stage.name for stage in self.distiller.plan]
        phases = [(phase,) if isinstance(phase, str) else tuple(phase) for phase in self.stages or names]
        for name in [*(name for phase in phases for name in phase), *self.overrides]:
            if name not in names:
                raise UserError(
                    f'default_hooks.stages: the student has no stage {name}, only {", ".join(names)}.'
                    f'{did_you_mean(name, names)}'
                )
        learned = [name for phase in phases for name in phase]
        if len(set(learned)) < len(learned):
            raise UserError(f'default_hooks.stages.stages: {learned} names a stage twice; each is learned once.')
        if self.unfreeze_last:
            if self.distiller.plan.head.name not in phases[-1]:
                raise UserError(
                    'default_hooks.stages.unfreeze_last: only the head can teach all, so it must come last.'
                )
            phases[-1] = tuple(names)
        return phases

    def _advance(self, runner: Runner, position: int) -> None:
        index = bisect_right(self.starts, position) - 1
        if index != self.index:
            self._enter(runner, index)

    def _end(self, runner: Runner) -> None:
        """Leave what was learned in the state in which it stays."""
        self.guard.check(self.name, runner.iter)
        if self.best is not None:
            self.best.restore(self.distiller)
        # DDP does not broadcast buffers: without this the learned stage's statistics would differ by rank for ever
        stages = [stage for stage in self.distiller.plan if stage.name in self.distiller.current]
        modules = [self.distiller.student.get_submodule(name) for stage in stages for name in stage.modules]
        buffers = {id(buffer): buffer for module in modules for buffer in module.buffers()}.values()
        all_reduce_params([buffer for buffer in buffers if buffer.is_floating_point()], op='mean')
        runner.logger.info(f'Stage {self.name} ends.')

    def _enter(self, runner: Runner, index: int) -> None:
        """Freeze and build anew, in the order that each step needs."""
        if self.index >= 0:
            self._end(runner)
        self.index = index
        self.distiller.enter(self.phases[index])
        if is_model_wrapper(runner.model):
            runner.model = runner.wrap_model(copy.deepcopy(runner.cfg.get('model_wrapper_cfg')), self.distiller)

        epoch_length = len(runner.train_dataloader) if self.by_epoch else 1
        length = self.lengths[index] * epoch_length
        runner.param_schedulers = None
        optim_cfg = copy.deepcopy(runner.cfg.optim_wrapper)
        for name in self.phases[index]:
            optim_cfg.optimizer.update(self.overrides.get(name, {}))
        extras = [p for module in self.distiller.trained_extras() for p in module.parameters()]
        old = getattr(runner.optim_wrapper, 'loss_scaler', None)
        runner.optim_wrapper = build_stage_optim_wrapper(self.distiller.student, extras, optim_cfg)
        if old is not None:
            runner.optim_wrapper.loss_scaler.load_state_dict(old.state_dict())
        runner.scale_lr(runner.optim_wrapper, runner.auto_scale_lr)
        if runner.cfg.get('param_scheduler') is not None:
            runner.param_schedulers = compress(
                runner.build_param_scheduler(copy.deepcopy(runner.cfg.param_scheduler)),
                total={True: runner.max_epochs, False: runner.max_iters},
                length={True: self.lengths[index], False: length},
            )
        runner.optim_wrapper.initialize_count_status(runner.model, 0, length)
        for key in [key for key in runner.message_hub.log_scalars if key.startswith('train/loss')]:
            runner.message_hub.log_scalars.pop(key)
        unit = 'epochs' if self.by_epoch else 'iterations'
        runner.logger.info(f'Stage {self.name} begins: {self.lengths[index]} {unit}.')

    def _validate(self, runner: Runner, done: int) -> None:
        if self.distiller.learns_head or runner.val_loop is None:
            return
        stage_ends = done == self.starts[self.index] + self.lengths[self.index]
        if stage_ends or done % runner.train_loop.val_interval == 0:
            loss = validate_mimic(runner, self.distiller)
            if self.best is not None:
                self.best.offer(loss, self.distiller)

    def _log_plan(self, runner: Runner, names: list[str]) -> None:
        unit = 'epochs' if self.by_epoch else 'iterations'
        counts = {name: p.numel() for name, p in self.distiller.student.named_parameters()}
        lines = ['Stage plan of the student:']
        for stage in self.distiller.plan:
            size = sum(counts[name] for name in stage.parameters)
            lines.append(
                f'  {stage.name:<24}{size:>12,} parameters  {stage.shapes or ""} {self.distiller.partner(stage)}'
            )
        lines += [
            'Schedule: ' + ', '.join(f'{name} {length}' for name, length in zip(names, self.lengths)) + f' {unit}'
        ]
        runner.logger.info('\n'.join(lines))


def _unwrap(model: BaseModel) -> BaseModel:
    return model.module if is_model_wrapper(model) else model
