"""The hook that trains stage after stage: it translates the Runner's events."""

import math
from collections.abc import Sequence

from mmengine.hooks import Hook
from mmengine.runner import EpochBasedTrainLoop, Runner

from mmkd.distillers.base import Distiller
from mmkd.errors import UserError
from mmkd.objectives.networks import TrainingSet
from mmkd.registry import HOOKS
from mmkd.schedule.held_scalars import hold_scalars
from mmkd.schedule.inheriting import Inheriting
from mmkd.schedule.loss_guard import LossGuard, is_scaled
from mmkd.schedule.planning import PlanOptions, plan_in_words
from mmkd.schedule.position import Position
from mmkd.schedule.process_states import ProcessStates
from mmkd.schedule.resume_state import KEY, ResumeState, saved_state
from mmkd.schedule.stage_end import StageCompletion
from mmkd.schedule.stage_report import StageReport
from mmkd.schedule.stage_setup import check_optimizers, set_up
from mmkd.schedule.stage_validation import BestStage
from mmkd.schedule.unlabelled_stream import UnlabelledImages, unlabelled_images
from mmkd.start_checks.classes import check_classes
from mmkd.start_checks.first_batch import first_batch, is_joined
from mmkd.start_checks.teacher_score import check_save_best, not_ahead, numbers, score_teacher
from mmkd.start_checks.training import check_training_of_head
from mmkd.teacher.pretrained import check_from_scratch
from mmkd.utils.random_state import own_randomness
from mmkd.utils.wrapped_models import unwrapped


@HOOKS.register_module()
class StageScheduleHook(Hook):
    """Splits the student's own training budget into stages and learns one after the other.

    At the start of each, everything but the stage is frozen, and optimizer, schedulers and the DDP wrapper are built
    anew from the student's own config; its learning rate policy is replayed within the stage.

    Args:
        stages (Sequence, optional): Names of the stages to learn, in this order; a list of names in it is learned
            together, ``'all'`` is everything. Defaults to what the distiller's method says.
        fractions (Sequence[float], optional): Each one's part of the budget. Defaults to one half for what comes with
            the head and equal parts for the others.
        lengths (Sequence[int], optional): Instead of fractions: epochs, or iterations in iteration loops.
        overrides (dict[str, dict], optional): Changes of the optimizer's config in single stages, e.g.
            ``dict(head=dict(lr=0.01))``.
        unfreeze_last (bool, optional): Learn every parameter in the last phase, with the head. By default SSKD does,
            unless ``stages`` says what is learned when.
        keep_best (bool): End each stage with its state of the lowest validation mimic loss. Defaults to False.
        score_teacher (bool): Evaluate the teacher on the validation set before training. Defaults to True.

    Example:
        >>> default_hooks = dict(stages=dict(type='mmkd.StageScheduleHook'))
    """

    priority = 5  # before RuntimeInfoHook (10), which would log the previous stage's learning rate

    def __init__(
        self,
        stages: Sequence | None = None,
        fractions: Sequence[float] | None = None,
        lengths: Sequence[int] | None = None,
        overrides: dict[str, dict] | None = None,
        unfreeze_last: bool | None = None,
        keep_best: bool = False,
        score_teacher: bool = True,
    ):
        self.options = PlanOptions(stages, fractions, lengths, overrides, unfreeze_last)
        self.score_teacher = score_teacher
        self.best = BestStage() if keep_best else None
        self.guard = LossGuard()
        self.report = StageReport()
        self.processes = ProcessStates()
        self.scores: dict[str, float] = {}  # the teacher's score
        self.own_scores: dict[str, float] = {}  # the student's score at the last validation
        self.resumed: dict | None = None  # the state from the checkpoint
        self.unlabelled: UnlabelledImages | None = None
        self.more = 0  # the number of unlabelled images in this iteration

    def before_run(self, runner: Runner) -> None:
        """Plan the phases, build what they need, and check early for later failures."""
        model = unwrapped(runner.model)
        if not isinstance(model, Distiller):
            raise UserError('default_hooks.stages: model is no distiller; set model.type to one, e.g. mmkd.SSKD.')
        self.distiller = model
        hold_scalars(runner.message_hub)
        if not runner._resume and runner._load_from is None:
            check_from_scratch(model.student)
        with own_randomness():
            batch = first_batch(runner, model)
            images = len(runner.train_dataloader.dataset)
            model.networks.training_set = TrainingSet(
                images, batch.get('data_samples') or (), is_joined(runner.train_dataloader.dataset)
            )
            model.prepare(batch['inputs'])
        check_classes(model, runner.train_dataloader.dataset)
        if self.best is not None and runner.val_loop is None:
            raise UserError('default_hooks.stages.keep_best: it needs validation (val_dataloader, val_cfg); set both.')
        in_epochs = isinstance(runner.train_loop, EpochBasedTrainLoop)
        self.schedule = schedule = self.options.plan(model, runner.max_epochs if in_epochs else None, runner.max_iters)
        self.position = Position(schedule, len(runner.train_dataloader) if in_epochs else 1)
        model.networks.epochs = self.position.epochs_with(model.plan.head.name) if in_epochs else None
        self.unlabelled = unlabelled_images(runner, model, schedule, batch)
        model.build_extras(schedule.phases)
        check_optimizers(runner, model, self.options.overrides)
        model.speed_up(batch['inputs'])
        heads = [start for start, phase in zip(schedule.starts, schedule.phases) if model.plan.head.name in phase]
        if heads:
            check_training_of_head(runner, model, batch)
        begin = heads[0] + 1 if heads else sum(schedule.lengths)  # without a head phase, the head is inherited
        runner.train_loop.val_begin = max(runner.train_loop.val_begin, math.ceil(begin / self.position.per_count))
        classes = getattr(runner.train_dataloader.dataset, 'metainfo', {}).get('classes') or ()
        self.inheriting = Inheriting(model, schedule, batch['inputs'], classes)
        self.state = ResumeState(model, schedule, self.processes, self.inheriting, self.best, self.unlabelled)
        self.stage_completion = StageCompletion(model, self.position, self.report, self.inheriting, self.best)
        runner.logger.info(plan_in_words(model, schedule))

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """On resume, enter the saved stage before its optimizer and schedulers are loaded."""
        if not runner._resume:
            return
        self.resumed = saved_state(checkpoint, self.schedule)
        self._enter(runner, self.resumed['index'])
        self.state.restore_modules(self.resumed)
        self.scores = self.resumed.get('teacher_score', {})

    def before_train(self, runner: Runner) -> None:
        """Begin the first stage, or continue the resumed one."""
        self.processes.meet_when_saving(runner, self.distiller)
        if self.resumed is None:
            if self.score_teacher:
                score = score_teacher(runner, self.distiller)
                check_save_best(runner.hooks, score)
                self.scores = numbers(score)
            self.inheriting.begin(runner)
            self._enter(runner, 0)
            self._mark(runner, 1)
            return
        self._mark(runner, runner.iter + 1)
        done, length = self.position.progress(runner.iter)
        runner.optim_wrapper.initialize_count_status(runner.model, done, length)
        self.report.begin(self.position.name, done)
        self.state.restore_draws(runner, self.resumed)

    def before_train_epoch(self, runner: Runner) -> None:
        """A stage may begin with an epoch."""
        if self.position.by_epoch:
            self._advance(runner, runner.epoch)
            self.report.start()

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch=None) -> None:
        """A stage may begin with an iteration."""
        if not self.position.by_epoch:
            self._advance(runner, runner.iter)
        if getattr(runner.message_hub, 'is_settled', False):  # the GPU has no work now, so asking costs no time
            self.guard.check(self.position.name)
        done, length = self.position.progress(runner.iter)
        self.distiller.progress = done / length
        self.report.start()
        if self.unlabelled is not None:
            self.more = self.unlabelled.hand_over(self.distiller.current)

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch=None, outputs: dict | None = None) -> None:
        """Check the loss; in iteration loops validate the stage."""
        if outputs is not None and 'loss' in outputs:
            self.guard.see(outputs['loss'], self.position.name, runner.iter, is_scaled(runner.optim_wrapper))
            self.report.see(outputs['loss'], len(data_batch['inputs']) + self.more)
        if not self.position.by_epoch:
            self.stage_completion.validate_or_complete(runner, runner.iter + 1)

    def after_train_epoch(self, runner: Runner) -> None:
        """In epoch loops validate the stage."""
        self.report.stop()
        if self.position.by_epoch:
            self.stage_completion.validate_or_complete(runner, runner.epoch + 1)

    def after_train(self, runner: Runner) -> None:
        """End the last stage."""
        self._end(runner)
        runner.logger.info(self.report.summary())
        if warning := not_ahead(self.scores, self.own_scores):
            runner.logger.warning(warning)

    def after_val_epoch(self, runner: Runner, metrics: dict | None = None) -> None:
        """Keep the student's score, for comparison with the teacher's at the end."""
        self.own_scores = numbers(metrics)

    def before_val(self, runner: Runner) -> None:
        """Stop the stage's clock, since validation does not count."""
        self.report.stop()

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Add the state for resuming; raise an error after a bad loss."""
        self.report.stop()
        self.guard.check(self.position.name, self.distiller.student)
        checkpoint[KEY] = self.state.collect(runner, checkpoint, self.position.index, self.scores)

    def _advance(self, runner: Runner, done: int) -> None:
        """Begin the next stage if it is due."""
        index = self.schedule.at(done)
        if index != self.position.index:
            self._end(runner)
            self._enter(runner, index)
            self._mark(runner, runner.iter + 1)

    def _enter(self, runner: Runner, index: int) -> None:
        """Freeze everything except these stages, and build optimizer and schedulers for them."""
        self.position.index = index
        self.distiller.enter(self.schedule.phases[index])
        overrides = self.options.overrides.get(self.position.name, {})
        said = set_up(runner, self.distiller, overrides, self.position.length)
        self.report.begin(self.position.name)
        runner.logger.info(f'Stage {self.position.name} begins: {self.schedule.length(index)}.{said}')

    def _mark(self, runner: Runner, step: int) -> None:
        """Log the number of the phase, counted from 1, at its first iteration and at its last."""
        runner.visualizer.add_scalars({'stage': self.position.index + 1}, step=step)

    def _end(self, runner: Runner) -> None:
        """Report on the stage, and warn if it did not learn."""
        self._mark(runner, runner.iter)
        self.guard.check(self.position.name, self.distiller.student)
        runner.logger.info(self.report.end())
        for warning in self.report.warnings:
            runner.logger.warning(warning)
