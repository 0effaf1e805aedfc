"""The state in a checkpoint that a resumed training needs besides the student."""

from dataclasses import replace

from mmengine.runner import Runner

from mmkd.distillers.base import Distiller
from mmkd.errors import UserError
from mmkd.schedule.inheriting import Inheriting
from mmkd.schedule.process_states import ProcessStates
from mmkd.schedule.stage_validation import BestStage
from mmkd.schedule.unlabelled_stream import UnlabelledImages
from mmkd.stages.phases import Schedule
from mmkd.utils.random_state import resume_randomness, state_for_resume

KEY = 'mmkd'  # the key in a checkpoint


def saved_state(checkpoint: dict, schedule: Schedule) -> dict:
    """The state in a checkpoint; an error if it has none, or one of another schedule."""
    state = checkpoint.get(KEY)
    if state is None:
        raise UserError('--resume: the checkpoint holds a plain model and no stage; start from it with load_from.')
    phases, lengths = tuple(map(tuple, state['phases'])), tuple(state['lengths'])
    saved = replace(schedule, phases=phases, lengths=lengths)
    if saved != schedule:
        raise UserError(
            f'--resume: the checkpoint was made with the stages {saved.in_words}, the config now '
            f'says {schedule.in_words}; resume with the config that made it, or start anew in another '
            '--work-dir.'
        )
    return state


class ResumeState:
    """Collects the state of everything that a run of phases needs, and restores it.

    Args:
        distiller: Has the extras.
        schedule: Of the run.
        processes: What each process has for itself.
        inheriting: Remembers whether the head is inherited.
        best: The best state of the stage, if it is wanted.
        unlabelled: The stream of images without labels, if there is one.
    """

    def __init__(
        self,
        distiller: Distiller,
        schedule: Schedule,
        processes: ProcessStates,
        inheriting: Inheriting,
        best: BestStage | None,
        unlabelled: UnlabelledImages | None,
    ):
        self.distiller, self.schedule, self.processes = distiller, schedule, processes
        self.inheriting, self.best, self.unlabelled = inheriting, best, unlabelled

    def collect(self, runner: Runner, checkpoint: dict, index: int, scores: dict[str, float]) -> dict:
        """The state for a checkpoint.

        Args:
            runner: Saves it.
            checkpoint: What mmengine puts into it.
            index: Of the phase at hand.
            scores: The teacher's.
        """
        state = dict(
            index=index,
            phases=self.schedule.phases,
            lengths=self.schedule.lengths,
            extras={key: value.cpu() for key, value in self.distiller.extras.state_dict().items()},
            random=state_for_resume(runner, checkpoint),
            others=self.processes.others,
            sampler_seed=getattr(runner.train_dataloader.sampler, 'seed', None),
            best=None if self.best is None else (self.best.loss, self.best.state),
            inherited=self.inheriting.done,
            teacher_score=scores,
        )
        if self.unlabelled is not None:
            state['unlabelled'] = self.unlabelled.state()
        return state

    def restore_modules(self, state: dict) -> None:
        """Restore what was learned besides the student; the distiller has entered the phase."""
        try:
            self.distiller.extras.load_state_dict(state['extras'])
        except RuntimeError as error:
            raise UserError(
                '--resume: the adapters or auxiliary heads in the checkpoint are not those of the config '
                f'({" ".join(str(error).split())}); resume with the config that made it.'
            ) from error
        self.inheriting.done = state.get('inherited', False)
        if self.best is not None and state['best'] is not None:
            self.best.loss, self.best.state = state['best']

    def restore_draws(self, runner: Runner, state: dict) -> None:
        """Restore the order of images and all random numbers, directly before the training."""
        if state['sampler_seed'] is not None:
            runner.train_dataloader.sampler.seed = state['sampler_seed']
        if self.unlabelled is not None:
            self.unlabelled.resume(state.get('unlabelled'))
        own = self.processes.restore(self.distiller, state['others'])
        resume_randomness(runner, {**state['random'], **own})
