"""The states of single processes; the first process saves checkpoints, and without this only its own."""

from functools import wraps

import torch
from mmengine.dist import all_gather_object, get_rank, get_world_size
from mmengine.runner import Runner
from torch import Tensor

from mmkd.distillers.base import Distiller
from mmkd.utils.random_state import get_random_state


def learned_buffers(distiller: Distiller) -> dict[str, Tensor]:
    """Statistics of trained norms, which each process takes of its own batches, by name."""
    stages = [stage for stage in distiller.plan if stage.name in distiller.current]
    modules = [distiller.student.get_submodule(name) for stage in stages for name in stage.modules]
    modules += distiller.trained_extras()
    learned = {id(buffer) for module in modules for buffer in module.buffers() if buffer.is_floating_point()}
    return {name: buffer for name, buffer in distiller.named_buffers() if id(buffer) in learned}


class ProcessStates:
    """Keeps for a checkpoint what the processes after the first have for themselves: statistics, random numbers.

    mmengine calls ``save_checkpoint`` in all of them, but runs it in the first only, and hooks on it, too. So they meet
    where it is called.
    """

    def __init__(self) -> None:
        self.others: list[dict] = []

    def meet_when_saving(self, runner: Runner, distiller: Distiller) -> None:
        """Gather the state of all processes each time before a checkpoint is saved."""
        if get_world_size() == 1:
            return
        save = runner.save_checkpoint

        @wraps(save)
        def meet_and_save(*args, **kwargs) -> None:
            buffers = {name: buffer.cpu() for name, buffer in learned_buffers(distiller).items()}
            own = (
                dict(random=get_random_state(), buffers=buffers) if get_rank() else {}
            )  # the first process saves its own
            self.others = all_gather_object(own)[1:]
            save(*args, **kwargs)

        runner.save_checkpoint = meet_and_save  # type: ignore[method-assign]

    @staticmethod
    @torch.no_grad()
    def restore(distiller: Distiller, others: list[dict]) -> dict:
        """Restore this process's statistics and random state, if the checkpoint has them."""
        if not 0 < get_rank() <= len(others):
            return {}
        own = others[get_rank() - 1]
        for name, buffer in learned_buffers(distiller).items():
            buffer.copy_(own['buffers'][name])
        return own['random']
