"""Validation measures of the current stages, besides the student's own metrics."""

import copy
from collections import defaultdict

import torch
from mmengine.dist import all_reduce_dict, all_reduce_params
from mmengine.runner import Runner

from mmkd.distillers.base import Distiller
from mmkd.features.explained_variance import explained_variance
from mmkd.objectives.mimicking import MIMIC_LOSS
from mmkd.schedule.process_states import learned_buffers
from mmkd.utils.random_state import own_randomness


def validate_stages(runner: Runner, distiller: Distiller, name: str) -> dict[str, float]:
    """Logs the means of ``distiller.measure`` over the validation set as scalars.

    They are no metrics, so that nothing (``save_best``, early stopping) can lock onto them.
    """
    distiller.eval()
    sums: dict[str, torch.Tensor] = defaultdict(lambda: torch.zeros((), dtype=torch.float64))
    loader = copy.copy(runner.val_loop.dataloader)  # persistent workers would change later draws
    with torch.no_grad(), own_randomness():
        for batch in loader:
            data = distiller.data_preprocessor(batch, False)
            images = len(data['inputs'])
            for key, value in distiller.measure(data['inputs'], data['data_samples']).items():
                sums[key] = sums[key] + value.double().cpu() * images
            sums['images'] += images
    distiller.train()
    all_reduce_dict(sums)
    means = {key: _told(value / sums['images']) for key, value in sums.items() if key != 'images'}
    runner.visualizer.add_scalars({f'val_{key}': value for key, value in means.items()}, step=runner.iter + 1)
    said = ', '.join(f'{key} {value:.5g}' for key, value in means.items())
    runner.logger.info(f'Stage {name} on the validation set: {said}')
    return means


def _told(mean: torch.Tensor) -> float:
    """The mean itself, or R squared computed from its parts."""
    return explained_variance(mean) if mean.ndim else float(mean)


class BestStage:
    """Keeps the state of the stage at hand at its lowest validation mimic loss."""

    def __init__(self) -> None:
        self.loss = float('inf')
        self.state: dict | None = None

    def offer(self, means: dict[str, float], distiller: Distiller) -> None:
        """Keep the current state if it is the best so far."""
        if means.get(MIMIC_LOSS, float('inf')) < self.loss:
            self.loss = means[MIMIC_LOSS]
            self.state = copy.deepcopy(distiller.student.state_dict())
            names = [name.removeprefix('student.') for name in learned_buffers(distiller)]
            # must be equal in all processes, since a checkpoint contains the first one's
            all_reduce_params([self.state[name] for name in names if name in self.state], op='mean')

    def restore(self, distiller: Distiller) -> bool:
        """Restore the best state at the end of the stage; return whether there is one."""
        found = self.state is not None
        if found:
            distiller.student.load_state_dict(self.state)
        self.__init__()  # type: ignore[misc]
        return found
