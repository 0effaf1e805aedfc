"""The mimic loss on the validation set, for the stages in which accuracy means nothing yet."""

import copy

import torch
from mmengine.dist import all_reduce
from mmengine.runner import Runner

from mmkd.distillers.base import Distiller
from mmkd.random_state import own_randomness


def validate_mimic(runner: Runner, distiller: Distiller) -> float:
    """The mean mimic loss over the validation set, logged as a scalar (no metric, so nothing can lock onto it)."""
    distiller.eval()
    sums = torch.zeros(2, dtype=torch.float64)
    with torch.no_grad(), own_randomness():
        for batch in runner.val_loop.dataloader:
            inputs = distiller.data_preprocessor(batch, False)['inputs']
            loss = sum(distiller.mimic(inputs).values())
            sums += torch.tensor([float(loss) * len(inputs), len(inputs)], dtype=torch.float64)
    distiller.train()
    all_reduce(sums)
    value = float(sums[0] / sums[1])
    runner.visualizer.add_scalar('val_mimic_loss', value, step=runner.iter + 1)
    runner.logger.info(f'Stage {"+".join(distiller.current)}: mimic loss on the validation set {value:.5f}')
    return value


class BestStage:
    """Keeps the state of the stage at hand at its lowest validation mimic loss."""

    def __init__(self) -> None:
        self.loss = float('inf')
        self.state: dict | None = None

    def offer(self, loss: float, distiller: Distiller) -> None:
        """Keep the present state if it is the best so far."""
        if loss < self.loss:
            self.loss = loss
            self.state = copy.deepcopy(distiller.student.state_dict())

    def restore(self, distiller: Distiller) -> None:
        """Go back to the best state, at the end of the stage."""
        if self.state is not None:
            distiller.student.load_state_dict(self.state)
        self.__init__()  # type: ignore[misc]
