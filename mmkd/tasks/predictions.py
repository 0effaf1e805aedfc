"""What two dense heads say of the same places, and what the teacher's makes of the student's features (CrossKD)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from mmkd.features.adapters import rows_of
from mmkd.features.every_call import every_call, given_inputs
from mmkd.features.least_squares import LeastSquares
from mmkd.losses import ClassScores
from mmkd.losses.cross_kd import as_teachers
from mmkd.tasks.targets import Targets

BRANCHES = ('cls_convs', 'reg_convs')
"""The lists of convolutions before a dense head's scores and before its boxes."""


@dataclass(frozen=True)
class Predictions:
    """A dense head's output, a row a place: level after level, in a level image after image.

    Args:
        head: Whose they are.
        output: By levels, the class scores first, then the boxes.
        pyramid: What the head read.
        inputs: Of the modules of the branches that were asked for, by path, level after level.
        targets: What its own loss compared them with.
    """

    head: Any
    output: Sequence[Sequence[Tensor]]
    pyramid: Sequence[Tensor]
    inputs: Mapping[str, list[Tensor]]
    targets: Targets | None = None
    crossed: dict[int, 'Predictions'] = field(default_factory=dict)  # by the number of own convolutions

    @property
    def scores(self) -> ClassScores:
        """Of the classes."""
        return ClassScores(_rows(self.output[0], self.head.cls_out_channels), bool(self.head.use_sigmoid_cls))

    @property
    def confidence(self) -> Tensor:
        """The probability of the likeliest class of each place, without gradient."""
        return self.scores.logits.detach().float().amax(1).sigmoid()

    @property
    def bins(self) -> Tensor:
        """The scores of the bins of each side of each box: (4 * places, bins)."""
        return _rows(self.output[1], self.head.reg_max + 1)

    @property
    def boxes(self) -> Tensor:
        """In pixels: (places, 4)."""
        head, levels = self.head, []
        sizes = [tuple(level.shape[-2:]) for level in self.output[1]]
        priors = head.prior_generator.grid_priors(sizes, device=self.output[1][0].device)
        for level, prior, stride in zip(self.output[1], priors, head.prior_generator.strides):
            images = len(level)
            if has_bins(head):
                sides = head.integral(_rows([level], 4 * (head.reg_max + 1))) * stride[0]
                prior = head.anchor_center(prior)
            else:
                sides = _rows([level], 4)
            levels.append(head.bbox_coder.decode(prior.repeat(images, 1), sides))
        return torch.cat(levels)

    def through(self, teacher: 'Predictions', convs: int, maps: Mapping[str, LeastSquares]) -> 'Predictions':
        """What the teacher's head makes of the student's features behind so many of the own convolutions.

        The features get the teacher's mean and deviation in each channel first, and where widths differ a linear map.
        """
        if convs not in self.crossed:
            inputs = {}
            for path, theirs in teacher.inputs.items():
                if path.endswith(f'.{convs}'):
                    inputs[path] = _alike(self.inputs[path], theirs, maps.get(map_name(path)))
            with given_inputs(teacher.head, inputs):
                output = teacher.head(tuple(teacher.pyramid))
            self.crossed[convs] = Predictions(teacher.head, output, teacher.pyramid, {})
        return self.crossed[convs]


def predict(head: nn.Module, pyramid: Sequence[Tensor], paths: Sequence[str] = ()) -> Predictions:
    """Run a head.

    Args:
        head: Dense.
        pyramid: What it reads.
        paths: Of the modules in it whose inputs are wanted.
    """
    with every_call(head, paths) as calls:
        output = head(tuple(pyramid))
    return Predictions(head, output, pyramid, {path: [call.first for call in calls[path]] for path in paths})


def has_bins(head: object) -> bool:
    """Whether a head says by distributions over bins where the sides of a box are, as GFL's."""
    return hasattr(head, 'reg_max') and hasattr(head, 'integral') and hasattr(head, 'anchor_center')


def map_name(path: str) -> str:
    """Of the map for the inputs of a module: paths have dots, which names of modules must not."""
    return path.replace('.', '_')


def _alike(features: Sequence[Tensor], targets: Sequence[Tensor], between: LeastSquares | None) -> list[Tensor]:
    if between is not None:
        if between.training:
            rows = [torch.cat([rows_of(level) for level in levels]) for levels in (features, targets)]
            between.observe(*rows)
        features = [between(level.to(between.weight.dtype)) for level in features]
    return [as_teachers(own, target) for own, target in zip(features, targets, strict=True)]


def _rows(levels: Sequence[Tensor], channels: int) -> Tensor:
    """(places, channels) of maps (images, places a position * channels, rows, columns)."""
    return torch.cat([level.permute(0, 2, 3, 1).reshape(-1, channels) for level in levels])
