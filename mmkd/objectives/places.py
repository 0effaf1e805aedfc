"""Places in both networks whose features a term compares."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from mmkd.errors import UserError
from mmkd.features.capture import Feature
from mmkd.features.layout import Layout
from mmkd.objectives.networks import Networks
from mmkd.objectives.term_options import EMBEDDING
from mmkd.stages.attachment import attach_point
from mmkd.stages.pairing import in_neck
from mmkd.stages.phases import Phase
from mmkd.stages.plan import Stage
from mmkd.utils.random_state import own_randomness


@dataclass(frozen=True)
class Place:
    """A place in each network.

    Args:
        name: In logs, and of its adapter.
        student: The stage that ends there.
        teacher: Its partner.
        before: Names of the student's stages that the feature depends on.
        pooled: Whether what is compared is the mean over the positions.
    """

    name: str
    student: Stage
    teacher: Stage
    before: frozenset[str]
    pooled: bool = False

    def changes(self, phase: Phase) -> bool:
        """Whether its feature changes during a phase."""
        return not self.before.isdisjoint(phase)

    def compared(self, stage: Stage, feature: Feature) -> Feature:
        """The compared feature of one network."""
        if not self.pooled:
            return feature
        return tuple(_mean(Layout.of(stage, tuple(tensor.shape[1:])), tensor) for tensor in feature)

    def as_compared(self, stage: Stage) -> Stage:
        """A stage with the shapes of the compared feature: a pooled feature is a map of one pixel."""
        if not self.pooled:
            return replace(stage, name=self.name)
        shapes = tuple((Layout.of(stage, shape).width, 1, 1) for shape in stage.shapes)
        return replace(stage, name=self.name, shapes=shapes, grid=(1, 1))


def default_names(networks: Networks) -> list[str]:
    """The default places: the neck of detectors that have one, every stage of other networks."""
    stages = networks.plan.stages
    return [stage.name for stage in stages if in_neck(stage)] or [stage.name for stage in stages]


def find_places(wanted: Sequence[Any], networks: Networks, inputs: Tensor, key: str) -> list[Place]:
    """The places that a user names.

    Args:
        wanted: Indices or names of the student's stages, module paths that both networks have, pairs of paths, or
            ``'embedding'``.
        networks: Their stages are paired.
        inputs: A preprocessed batch.
        key: In messages.
    """
    places = [_find(entry, networks, inputs, key) for entry in wanted]
    names = [place.name for place in places]
    if len(set(names)) < len(names):
        raise UserError(f'{key}: {list(wanted)} names a place twice; leave one out.')
    networks.check_cut(place.teacher for place in places)
    return places


def _find(entry: Any, networks: Networks, inputs: Tensor, key: str) -> Place:
    plan, last = networks.plan, networks.plan.stages[-1]
    if entry == EMBEDDING and EMBEDDING not in [stage.name for stage in plan.stages]:
        theirs = networks.teacher_stages[last.name]
        if len(last.shapes) > 1 or len(theirs.shapes) > 1:
            raise UserError(f"{key}: a network that ends in a pyramid has no '{EMBEDDING}'; name stages or modules.")
        return Place(EMBEDDING, last, theirs, _before(networks, last), pooled=True)
    both = networks.padded_for_both(inputs)
    student, teacher = (networks.student, both), (networks.teacher.network, networks.teacher_inputs(both))
    with own_randomness():
        point = attach_point(entry, plan, networks.teacher_stages, student, teacher, key)
    return Place(point.name, point.student, point.teacher, _before(networks, point.student))


def _before(networks: Networks, end: Stage) -> frozenset[str]:
    """The stages that a feature depends on: those up to it, or all that hold parameters before a module."""
    stages = networks.plan.stages
    if end in stages:
        return frozenset(stage.name for stage in stages[: stages.index(end) + 1])
    return frozenset(stage.name for stage in networks.plan if not set(stage.parameters).isdisjoint(end.parameters))


def _mean(layout: Layout, tensor: Tensor) -> Tensor:
    """The mean over the positions, as a map of one pixel."""
    axes = (1,) if layout.prefix is not None else (1, 2) if layout.channels_last else (2, 3)
    return tensor.mean(axes)[:, :, None, None]
