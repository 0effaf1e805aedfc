"""Pictures of what student and teacher see at the ends of their stages."""

from collections.abc import Iterator

from mmengine.runner import Runner
from torch import Tensor

from mmkd.features.capture import Feature
from mmkd.features.similarity import maps_of
from mmkd.registry import HOOKS
from mmkd.stages.plan import Stage
from mmkd.watching.drawing import FeaturePicture
from mmkd.watching.hook import Look, WatchingHook


@HOOKS.register_module()
class FeatureMapsHook(WatchingHook):
    """Draws where the features of both networks are strong, before the training and as often as the config validates.

    The picture ``features_<stage>`` has a row for each image: the image, then how strong the student's feature and the
    teacher's are there (root mean square over the channels). A stage with several levels has a picture for each.

    Args:
        images (int): How many, evenly spread over the validation set. Defaults to 4.

    Example:
        >>> custom_hooks = [dict(type='mmkd.FeatureMapsHook')]
    """

    def __init__(self, images: int = 4):
        super().__init__(images)

    def show(self, runner: Runner, looks: Iterator[Look], step: int) -> None:
        """Draw a picture of each stage."""
        pictures: dict[str, FeaturePicture] = {}
        for look in looks:
            for (stage, partner), own, theirs in zip(self.pairs, look.own, look.theirs):
                titles = f'student: {stage.name}', f'teacher: {partner.name}'
                for name, levels in _levels(stage, own, partner, theirs).items():
                    picture = pictures.setdefault(name, FeaturePicture(titles))
                    for image, *features in zip(look.images, *levels):
                        picture.add(image, look.size, tuple(features))
        for name, picture in pictures.items():
            runner.visualizer.add_image(f'features_{name}', picture.drawn(), step=step)


def _levels(stage: Stage, own: Feature, partner: Stage, theirs: Feature) -> dict[str, tuple[Tensor, Tensor]]:
    """The maps of both, level by level, for as many levels as both have."""
    pairs = list(zip(maps_of(stage, own), maps_of(partner, theirs)))
    return {f'{stage.name}_{place}' if len(pairs) > 1 else stage.name: pair for place, pair in enumerate(pairs)}
