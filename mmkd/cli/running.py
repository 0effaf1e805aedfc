"""What training, testing and comparing share: they build a Runner, and its errors become one sentence."""

from collections.abc import Iterator
from contextlib import contextmanager

from mmengine.config import Config
from mmengine.registry import RUNNERS
from mmengine.runner import Runner

from mmkd.checkpoints.safe_load import guarded
from mmkd.cli.error_keys import naming_config_keys
from mmkd.cli.machine_errors import explain_dead_workers, explain_full_disk


@contextmanager
def explained(
    cfg: Config, written: Config, elsewhere: str = '--work-dir', again: str = 'start again'
) -> Iterator[None]:
    """Turn the errors of building a Runner and of running it into one sentence each; load no code from checkpoints.

    Args:
        cfg: What the Runner is built from.
        written: The config as the user wrote it, whose keys are named.
        elsewhere: What names another place for files.
        again: How to go on after the machine ended the run.
    """
    with (
        naming_config_keys(written),
        guarded(cfg),
        explain_dead_workers(again),
        explain_full_disk(cfg.work_dir, f'choose another place with {elsewhere}, then {again}'),
    ):
        yield


def build_runner(cfg: Config) -> Runner:
    """The Runner of a config, or the one that it names."""
    return RUNNERS.build(cfg) if 'runner_type' in cfg else Runner.from_cfg(cfg)
