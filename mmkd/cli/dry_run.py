"""Plans a distillation and stops before the training."""

import sys
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmkd.cli import train
from mmkd.cli.iteration_cost import costs_in_words
from mmkd.cli.short_config import ShortConfig
from mmkd.distillers import MHKD, SSKD, FeatureKD
from mmkd.distillers.base import Distiller
from mmkd.hooks import StageScheduleHook
from mmkd.schedule.planning import plan_in_words
from mmkd.stages.phases import Schedule


class _Planned(Exception):  # noqa: N818  (nothing went wrong)
    """Raised when the plan is made and the training would begin."""


class _Stop(Hook):
    """Ends the run after all other hooks have run their ``before_train``."""

    priority = 'LOWEST'

    def before_run(self, runner: Runner) -> None:
        raise _Planned


def plan(config: ShortConfig, flags: list[str]) -> str:
    """Describe what would be learned, found with both networks and a batch; writes nothing.

    Args:
        config: Of the distillation.
        flags: Of training.
    """
    with TemporaryDirectory() as name:
        file = Path(name, config.file_name)
        file.write_text(f"{config.text(Path(name).resolve())}log_level = 'WARNING'\n")
        sys.argv = ['mmkd train', str(file), *flags, '--work-dir', str(Path(name, 'work_dir'))]
        with train.prepared(train.parse()) as runner:
            runner.register_hook(_Stop())
            with suppress(_Planned):
                runner.train()
            (hook,) = (hook for hook in runner.hooks if isinstance(hook, StageScheduleHook))
            beside = _beside(hook.distiller, hook.schedule)
            return '\n'.join([plan_in_words(hook.distiller, hook.schedule), *beside, *costs_in_words(runner, hook)])


def _beside(distiller: Distiller, schedule: Schedule) -> list[str]:
    """Describe what is learned beside the student's own loss, and where."""
    if isinstance(distiller, MHKD):
        points = [f'{point.student.end} (teacher: {point.teacher.end})' for point in distiller.heads.points]
        return [f'Auxiliary heads on {", ".join(points)}.'] if points else []
    if isinstance(distiller, SSKD | FeatureKD):
        stages = [stage for phase in schedule.phases for stage in distiller.features.student_stages(phase)]
        names = dict.fromkeys(stage.name for stage in stages)
        return [f"Mimicked beside the student's own loss: {', '.join(names)}."] if names else []
    return []
