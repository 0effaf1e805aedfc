"""Backends of mmengine's Visualizer that say when something was seen; mmengine's own forget it."""

from typing import Any

import numpy as np
from mmengine.visualization import MLflowVisBackend as PlainMLflow
from mmengine.visualization import WandbVisBackend as PlainWandb

from mmkd.registry import VISBACKENDS

AXIS = 'iteration'


@VISBACKENDS.register_module()
class WandbVisBackend(PlainWandb):
    """W&B with the iteration as the horizontal axis of everything; mmengine's counts the calls instead.

    Args:
        kwargs: As of mmengine's ``WandbVisBackend``.

    Example:
        >>> vis_backends = [dict(type='mmkd.WandbVisBackend', init_kwargs=dict(project='mine'))]
    """

    def _init_env(self) -> None:
        super()._init_env()
        self._wandb.define_metric(AXIS)
        self._wandb.define_metric('*', step_metric=AXIS)

    def add_image(self, name: str, image: np.ndarray, step: int = 0, **kwargs: Any) -> None:
        """Show a picture at an iteration."""
        self.add_scalars({name: self.experiment.Image(image)}, step)

    def add_scalar(self, name: str, value: Any, step: int = 0, **kwargs: Any) -> None:
        """Log a value at an iteration."""
        self.add_scalars({name: value}, step)

    def add_scalars(self, scalar_dict: dict, step: int = 0, file_path: str | None = None, **kwargs: Any) -> None:
        """Log values at an iteration."""
        self.experiment.log({**scalar_dict, AXIS: step}, commit=self._commit)


@VISBACKENDS.register_module()
class MLflowVisBackend(PlainMLflow):
    """MLflow with pictures by iteration; mmengine's asks for names that end as a file's.

    Args:
        kwargs: As of mmengine's ``MLflowVisBackend``.

    Example:
        >>> vis_backends = [dict(type='mmkd.MLflowVisBackend', tracking_uri='sqlite:///runs.db', exp_name='mine')]
    """

    def add_image(self, name: str, image: np.ndarray, step: int = 0, **kwargs: Any) -> None:
        """Show a picture at an iteration."""
        self.experiment.log_image(image, key=name, step=step)
