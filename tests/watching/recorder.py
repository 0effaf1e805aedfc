"""A backend of the Visualizer that keeps what it is given."""

from mmengine.registry import VISBACKENDS
from mmengine.visualization.vis_backend import BaseVisBackend


@VISBACKENDS.register_module()
class Recorder(BaseVisBackend):
    """Keeps scalars by name, each with its steps, and pictures by name and step."""

    def __init__(self, save_dir: str = ''):
        super().__init__(save_dir)
        self.scalars: dict[str, list[tuple[int, float]]] = {}
        self.pictures: dict = {}

    def _init_env(self):
        pass

    @property
    def experiment(self):
        return self

    def add_config(self, config, **kwargs):
        pass

    def add_image(self, name, image, step=0, **kwargs):
        self.pictures[name, step] = image

    def add_scalar(self, name, value, step=0, **kwargs):
        self.scalars.setdefault(name, []).append((step, float(value)))

    def add_scalars(self, scalar_dict, step=0, file_path=None, **kwargs):
        for name, value in scalar_dict.items():
            self.add_scalar(name, value, scalar_dict.get('step', step))


RECORDED = {'visualizer.vis_backends': [dict(type='Recorder')]}


def recorded(runner) -> Recorder:
    """What a run has shown."""
    (backend,) = runner.visualizer._vis_backends.values()
    return backend
