"""Which stage is learned when."""

import math
from collections.abc import Sequence
from dataclasses import replace

from mmengine.hooks import Hook
from mmengine.model import BaseModel, is_model_wrapper
from mmengine.runner import EpochBasedTrainLoop, Runner

from mmkd.distillers.base import Distiller
from mmkd.errors import UserError
from mmkd.registry import HOOKS
from mmkd.schedule.budget import check_lengths, check_numbers, default_fractions, split_budget
from mmkd.schedule.held_scalars import hold_scalars
from mmkd.schedule.inheriting import Inheriting
from mmkd.schedule.loss_guard import LossGuard, is_scaled
from mmkd.schedule.process_states import ProcessStates
from mmkd.schedule.stage_report import StageReport
from mmkd.schedule.stage_setup import average_buffers, check_optimizers, restart_averages, set_up
from mmkd.schedule.stage_validation import BestStage, validate_stages
from mmkd.schedule.unlabelled_stream import UnlabelledImages, unlabelled_images
from mmkd.stages.phases import Schedule, check_name, check_overrides, check_stages, phase_name, plan_phases
from mmkd.start_checks.classes import check_classes, check_labels, check_validation_classes
from mmkd.start_checks.first_batch import check_ground_truth, check_head, check_prediction, first_batch
from mmkd.start_checks.teacher_score import not_ahead, numbers, score_teacher
from mmkd.teacher.pretrained import check_scratch
from mmkd.utils.random_state import own_randomness, resume_randomness, state_for_resume

KEY = 'mmkd'  # of a checkpoint: what is needed to go on, besides the student


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

    priority = 5  # before RuntimeInfoHook (10), which would log the last stage's learning rate

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
        if fractions is not None and lengths is not None:
            raise UserError('default_hooks.stages: fractions and lengths say the same thing twice; give one of them.')
        self.stages = check_stages(stages)
        self.fractions = check_numbers('fractions', fractions)
        self.lengths = check_numbers('lengths', lengths)
        self.overrides = check_overrides(overrides or {})
        self.unfreeze_last = unfreeze_last
        self.score_teacher = score_teacher
        self.best = BestStage() if keep_best else None
        self.guard = LossGuard()
        self.report = StageReport()
        self.processes = ProcessStates()
        self.index = -1  # of the phase at hand; before the first
        self.scores: dict[str, float] = {}  # the teacher's
        self.own_scores: dict[str, float] = {}  # the student's, at the last validation
        self.resumed: dict | None = None
        self.unlabelled: UnlabelledImages | None = None
        self.more = 0  # images of them in the iteration at hand

    def before_run(self, runner: Runner) -> None:
        """Plan."""
        model = _unwrap(runner.model)
        if not isinstance(model, Distiller):
            raise UserError('default_hooks.stages: model is no distiller; set model.type to one, e.g. mmkd.SSKD.')
        self.distiller = model
        hold_scalars(runner.message_hub)
        if not runner._resume and runner._load_from is None:
            check_scratch(model.student)
        with own_randomness():
            batch = first_batch(runner, self.distiller)
            self.distiller.prepare(batch['inputs'])
        check_classes(self.distiller, runner.train_dataloader.dataset)
        if self.best is not None and runner.val_loop is None:
            raise UserError('default_hooks.stages.keep_best: it needs validation (val_dataloader, val_cfg); set both.')
        in_epochs = isinstance(runner.train_loop, EpochBasedTrainLoop)
        self.epoch_length = len(runner.train_dataloader) if in_epochs else 1
        self.schedule = self._plan(runner, in_epochs)
        self.by_epoch = self.schedule.unit == 'epochs'
        self.per_count = 1 if self.by_epoch else self.epoch_length  # of the schedule's units, for one of the loop's
        self.unlabelled = unlabelled_images(runner, self.distiller, self.schedule, batch)
        self.distiller.build_extras(self.schedule.phases)
        check_optimizers(runner, self.distiller, self.overrides)
        self.distiller.speed_up(batch['inputs'])
        head = self.distiller.plan.head.name
        heads = [start for start, phase in zip(self.schedule.starts, self.schedule.phases) if head in phase]
        if heads:
            check_ground_truth(self.distiller.student, batch.get('data_samples'))
            loaders = dict(train_dataloader=runner.train_dataloader)
            if runner.val_loop is not None:
                loaders['val_dataloader'] = runner.val_loop.dataloader
                check_validation_classes(runner.train_dataloader.dataset, runner.val_loop.dataloader.dataset)
            check_labels(self.distiller.student, {key: loader.dataset for key, loader in loaders.items()})
            with self.distiller.speed_ups.tried():
                check_head(self.distiller.student, batch['inputs'], batch.get('data_samples'))
            check_prediction(runner, self.distiller)
        begin = heads[0] + 1 if heads else sum(self.schedule.lengths)  # without the head, when it is inherited
        runner.train_loop.val_begin = max(runner.train_loop.val_begin, math.ceil(begin / self.per_count))
        classes = getattr(runner.train_dataloader.dataset, 'metainfo', {}).get('classes') or ()
        self.inheriting = Inheriting(self.distiller, self.schedule, batch['inputs'], classes)
        self._log_plan(runner)

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """On resume: enter the stage that was saved, before its optimizer and schedulers are loaded."""
        if not runner._resume:
            return
        self.resumed = checkpoint.get(KEY)
        if self.resumed is None:
            raise UserError('--resume: the checkpoint holds a plain model and no stage; start from it with load_from.')
        phases, lengths = tuple(map(tuple, self.resumed['phases'])), tuple(self.resumed['lengths'])
        saved = replace(self.schedule, phases=phases, lengths=lengths)
        if saved != self.schedule:
            raise UserError(
                f'--resume: the checkpoint was made with the stages {saved.in_words}, the config now '
                f'says {self.schedule.in_words}; resume with the config that made it, or start anew in another '
                '--work-dir.'
            )
        self._enter(runner, self.resumed['index'])
        try:
            self.distiller.extras.load_state_dict(self.resumed['extras'])
        except RuntimeError as error:
            raise UserError(
                '--resume: the adapters or auxiliary heads in the checkpoint are not those of the config '
                f'({" ".join(str(error).split())}); resume with the config that made it.'
            ) from error
        self.inheriting.done = self.resumed.get('inherited', False)
        self.scores = self.resumed.get('teacher_score', {})
        if self.best is not None and self.resumed['best'] is not None:
            self.best.loss, self.best.state = self.resumed['best']

    def before_train(self, runner: Runner) -> None:
        """Begin with the first stage, or go on within the resumed one."""
        self.processes.meet_when_saving(runner, self.distiller)
        if self.resumed is None:
            if self.score_teacher:
                self.scores = numbers(score_teacher(runner, self.distiller))
            self.inheriting.begin(runner)
            self._enter(runner, 0)
            return
        done, length = self.progress(runner)
        runner.optim_wrapper.initialize_count_status(runner.model, done, length)
        self.report.begin(self.name, done)
        if self.resumed['sampler_seed'] is not None:
            runner.train_dataloader.sampler.seed = self.resumed['sampler_seed']
        if self.unlabelled is not None:
            self.unlabelled.resume(self.resumed.get('unlabelled'))
        own = self.processes.restore(self.distiller, self.resumed['others'])
        resume_randomness(runner, {**self.resumed['random'], **own})

    def before_train_epoch(self, runner: Runner) -> None:
        """A stage may begin with an epoch."""
        if self.by_epoch:
            self._advance(runner, runner.epoch)
            self.report.start()

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch=None) -> None:
        """A stage may begin with an iteration."""
        if not self.by_epoch:
            self._advance(runner, runner.iter)
        done, length = self.progress(runner)
        self.distiller.progress = done / length
        self.report.start()
        if self.unlabelled is not None:
            self.more = self.unlabelled.hand_over(self.distiller.current)

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch=None, outputs: dict | None = None) -> None:
        """Watch the loss, and the validation's mimic loss in iteration loops."""
        if outputs is not None and 'loss' in outputs:
            self.guard.see(outputs['loss'], self.name, runner.iter, is_scaled(runner.optim_wrapper))
            self.report.see(outputs['loss'], len(data_batch['inputs']) + self.more)
        if not self.by_epoch:
            self.look_back(runner, runner.iter + 1)

    def after_train_epoch(self, runner: Runner) -> None:
        """Watch the validation's mimic loss in epoch loops."""
        self.report.stop()
        if self.by_epoch:
            self.look_back(runner, runner.epoch + 1)

    def after_train(self, runner: Runner) -> None:
        """The last stage ends."""
        self._end(runner)
        runner.logger.info(self.report.summary())
        if warning := not_ahead(self.scores, self.own_scores):
            runner.logger.warning(warning)

    def after_val_epoch(self, runner: Runner, metrics: dict | None = None) -> None:
        """Keep the student's score, to compare it with the teacher's at the end."""
        self.own_scores = numbers(metrics)

    def before_val(self, runner: Runner) -> None:
        """Validation is no time of the stage's."""
        self.report.stop()

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Add what is needed to go on; refuse to save after a bad loss."""
        self.report.stop()
        self.guard.check(self.name, self.distiller.student)
        checkpoint[KEY] = dict(
            index=self.index,
            phases=self.schedule.phases,
            lengths=self.schedule.lengths,
            extras={key: value.cpu() for key, value in self.distiller.extras.state_dict().items()},
            random=state_for_resume(runner, checkpoint),
            others=self.processes.others,
            sampler_seed=getattr(runner.train_dataloader.sampler, 'seed', None),
            best=None if self.best is None else (self.best.loss, self.best.state),
            inherited=self.inheriting.done,
            teacher_score=self.scores,
        )
        if self.unlabelled is not None:
            checkpoint[KEY]['unlabelled'] = self.unlabelled.state()

    @property
    def name(self) -> str:
        """Of the phase at hand."""
        return self.schedule.name(max(self.index, 0))

    def iterations(self, runner: Runner) -> list[int]:
        """The length of each phase."""
        return [length * self.epoch_length // self.per_count for length in self.schedule.lengths]

    def progress(self, runner: Runner) -> tuple[int, int]:
        """The iterations of the phase at hand that are done, and all of them."""
        lengths = self.iterations(runner)
        return runner.iter - sum(lengths[: self.index]), lengths[self.index]

    def look_back(self, runner: Runner, done: int) -> None:
        """Validate now and then; at the stage's end leave what was learned in the state in which it stays."""
        ends = done == self.schedule.starts[self.index] + self.schedule.lengths[self.index]
        validates = runner.val_loop is not None and self.distiller.measures
        if validates and (ends or done % (runner.train_loop.val_interval * self.per_count) == 0):
            self.report.stop()
            means = validate_stages(runner, self.distiller, self.name)
            self.report.explain(means)
            if self.best is not None:
                self.best.offer(means, self.distiller)
        restored = False
        if ends and self.best is not None:  # now, so that the checkpoint of this moment holds it
            restored = self.best.restore(self.distiller)
        if ends:
            restored |= self.inheriting.end(runner, self.index)
        if ends and self.index + 1 < len(self.schedule.phases):  # after the last one nothing depends on it
            average_buffers(self.distiller)
        if restored:  # else checkpoints would hold the average, over all of the stage, in its place
            restart_averages(runner, self.distiller)

    def _plan(self, runner: Runner, in_epochs: bool) -> Schedule:
        """The schedule that the user wants of the student's own budget."""
        stages = tuple(stage.name for stage in self.distiller.plan)
        unfreezes = self.distiller.unfreezes_last and self.stages is None
        phases = plan_phases(
            self.stages or self.distiller.default_phases(),
            stages,
            self.distiller.teachable,
            unfreezes if self.unfreeze_last is None else self.unfreeze_last,
        )
        names = [phase_name(phase, stages) for phase in phases]
        for name in self.overrides:
            check_name(name, names, 'default_hooks.stages.overrides')
        total, unit = (runner.max_epochs, 'epochs') if in_epochs else (runner.max_iters, 'iterations')
        if self.lengths is not None:
            if sum(self.lengths) == runner.max_iters != total:
                total, unit = runner.max_iters, 'iterations'
            lengths = check_lengths(total, names, self.lengths, unit, runner.max_iters)
        else:
            fractions = self.fractions or default_fractions(names, stages[-1] in phases[-1])
            lengths = split_budget(total, names, fractions, unit)
        return Schedule(phases, tuple(lengths), unit, stages)

    def _advance(self, runner: Runner, position: int) -> None:
        index = self.schedule.at(position)
        if index != self.index:
            self._end(runner)
            self._enter(runner, index)

    def _enter(self, runner: Runner, index: int) -> None:
        """Freeze what is not learned now and build the rest anew."""
        self.index = index
        self.distiller.enter(self.schedule.phases[index])
        length = {False: self.progress(runner)[1]}
        if self.per_count == 1:  # else no whole number of epochs
            length[True] = self.schedule.lengths[index]
        set_up(runner, self.distiller, self.overrides.get(self.name, {}), length)
        self.report.begin(self.name)
        runner.logger.info(f'Stage {self.name} begins: {self.schedule.length(index)}.')

    def _end(self, runner: Runner) -> None:
        """Tell of the stage, and what to do if it did not learn."""
        self.guard.check(self.name, self.distiller.student)
        runner.logger.info(self.report.end())
        for warning in self.report.warnings:
            runner.logger.warning(warning)

    def _log_plan(self, runner: Runner) -> None:
        counts = {name: p.numel() for name, p in self.distiller.student.named_parameters()}
        lines = ['Stage plan of the student:']
        for stage in self.distiller.plan:
            size = sum(counts[name] for name in stage.parameters)
            lines.append(
                f'  {stage.name:<24}{size:>12,} parameters  {stage.shapes or ""} {self.distiller.learns_from(stage)}'
            )
        runner.logger.info('\n'.join([*lines, str(self.schedule)]))


def _unwrap(model: BaseModel) -> BaseModel:
    return model.module if is_model_wrapper(model) else model
