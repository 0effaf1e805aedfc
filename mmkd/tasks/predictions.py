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
from mmkd.tasks.valuable_region import NEAREST, valuable_region

BRANCHES = ('cls_convs', 'reg_convs')
"""The lists of convolutions before a dense head's scores and before its boxes."""


@dataclass(frozen=True)
class Predictions:
    """A dense head's output, a row a place: level after level, in a level image after image.

    Args:
        head: Whose they are.
        output: By levels, the class scores first, then the boxes.
        pyramid: What the head read.
        inputs: Of the modules of the branches that were asked for, by path, level after level; where an activation
            comes before, what it got (see :func:`heard_at`).
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
    def centerness(self) -> Tensor:
        """The scores of how central a place is in its object: (places,)."""
        return _rows(self.output[2], 1)[:, 0]

    @property
    def boxes(self) -> Tensor:
        """In pixels: (places, 4)."""
        head, priors, levels = self.head, [], []
        for level, prior, stride in zip(self.output[1], self.priors, head.prior_generator.strides):
            if has_bins(head):
                levels.append(head.integral(_rows([level], 4 * (head.reg_max + 1))) * stride[0])
                prior = head.anchor_center(prior)
            else:
                levels.append(_rows([level], 4))
            priors.append(prior.repeat(len(level), 1))
        return head.bbox_coder.decode(torch.cat(priors), torch.cat(levels))  # once: it copies its settings there

    @property
    def priors(self) -> list[Tensor]:
        """The anchors or points of an image, by levels."""
        sizes = [tuple(level.shape[-2:]) for level in self.output[1]]
        return self.head.prior_generator.grid_priors(sizes, device=self.output[1][0].device)

    def near(self, boxes: Sequence[Tensor]) -> Tensor:
        """How valuable each place is for these boxes of the images (see :func:`valuable_region`): (places,)."""
        assert self.targets is not None
        images, priors = len(boxes), self.priors
        counts = (self.targets.weights > 0).split([images * len(level) for level in priors])
        valid = [level.view(images, -1) for level in counts]
        nearest = getattr(getattr(self.head, 'assigner', None), 'topk', NEAREST)
        found = [
            valuable_region(priors, [level[image] for level in valid], true, nearest)
            for image, true in enumerate(boxes)
        ]
        return torch.cat([weights for level in zip(*found) for weights in level])

    def through(self, teacher: 'Predictions', convs: int, maps: Mapping[str, LeastSquares]) -> 'Predictions':
        """What the teacher's head makes of the student's features behind so many of the own convolutions.

        The features get the teacher's mean and deviation in each channel first, and where widths differ a linear map.
        """
        if convs not in self.crossed:
            features = {
                path: _alike(self.inputs[path], theirs, maps.get(map_name(path)))
                for path, theirs in teacher.inputs.items()
                if path.endswith(f'.{convs}')
            }
            self.crossed[convs] = teacher.from_features(features)
        return self.crossed[convs]

    def from_features(self, features: Mapping[str, Sequence[Tensor]]) -> 'Predictions':
        """What the head would say if these were its ``inputs``; activations may write into them."""
        inputs: dict[str, Sequence[Tensor]] = {}
        for path, levels in features.items():
            heard = heard_at(self.head, path)
            activation = self.head.get_submodule(heard)
            inputs[path] = levels if heard == path else [activation(level) for level in levels]
        with given_inputs(self.head, inputs):
            return Predictions(self.head, self.head(tuple(self.pyramid)), self.pyramid, {})


def predict(head: nn.Module, pyramid: Sequence[Tensor], paths: Sequence[str] = ()) -> Predictions:
    """Run a head.

    Args:
        head: Dense.
        pyramid: What it reads.
        paths: Of the modules in it whose inputs are wanted.
    """
    heard = {path: heard_at(head, path) for path in paths}
    with every_call(head, list(heard.values())) as calls:
        output = head(tuple(pyramid))
    return Predictions(head, output, pyramid, {path: [call.first for call in calls[heard[path]]] for path in paths})


def heard_at(head: nn.Module, path: str) -> str:
    """The module that gets a branch's features before its convolution of this path: the activation, or itself."""
    branch, _, index = path.rpartition('.')
    convs: Any = head.get_submodule(branch)
    before = getattr(convs[int(index) - 1], 'activate', None) if int(index) else None
    return f'{branch}.{int(index) - 1}.activate' if isinstance(before, nn.Module) else path


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
