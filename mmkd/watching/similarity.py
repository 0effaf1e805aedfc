"""How alike the stages of student and teacher are, as scalars."""

from collections import defaultdict
from collections.abc import Iterator

import torch
from mmengine.runner import Runner
from torch import Tensor

from mmkd.features.similarity import linear_cka, mapped_cosine, pooled
from mmkd.registry import HOOKS
from mmkd.watching.hook import Look, WatchingHook


@HOOKS.register_module()
class SimilarityHook(WatchingHook):
    """Logs for each stage how alike student and teacher are, before the training and as often as the config validates.

    ``val_cka_<stage>`` is linear CKA, ``val_cosine_<stage>`` the cosine after the best linear map.

    Args:
        images (int): How many, evenly spread over the validation set. Defaults to 64, and 8 are the fewest.

    Example:
        >>> custom_hooks = [dict(type='mmkd.SimilarityHook')]
    """

    fewest = 8  # fewer say nothing

    def __init__(self, images: int = 64):
        super().__init__(images)

    def show(self, runner: Runner, looks: Iterator[Look], step: int) -> None:
        """Log both figures of each stage."""
        students: dict[str, list[Tensor]] = defaultdict(list)
        teachers: dict[str, list[Tensor]] = defaultdict(list)
        for look in looks:
            for (stage, partner), own, theirs in zip(self.pairs, look.own, look.theirs):
                students[stage.name].append(pooled(stage, own).float().cpu())
                teachers[stage.name].append(pooled(partner, theirs).float().cpu())
        found = {}
        for stage, _ in self.pairs:
            both = torch.cat(students[stage.name]), torch.cat(teachers[stage.name])
            found[f'val_cka_{stage.name}'] = linear_cka(*both)
            found[f'val_cosine_{stage.name}'] = mapped_cosine(*both)
        runner.visualizer.add_scalars(found, step=step)
