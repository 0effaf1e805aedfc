"""Features of both networks at the ends of stages, with the student's in the teacher's shape."""

from collections.abc import Sequence

from torch import Tensor

from mmkd.features.adapters import AdapterSet, MapOf, build_adapter, fitted_map, module_key
from mmkd.features.capture import Feature, run_to
from mmkd.objectives.networks import Networks
from mmkd.stages.plan import Stage

Compared = dict[str, tuple[Feature, Feature]]
"""By the names of stages: the student's adapted feature, and what it is compared with."""


class Comparison:
    """Compares stages of the student with their partners; the adapters lie in the extras, one for each stage.

    Args:
        networks: Both, with their stages paired.
        map_of: Makes the map from the student's channels to the teacher's.
    """

    def __init__(self, networks: Networks, map_of: MapOf = fitted_map):
        self.networks, self.map_of = networks, map_of

    def build(self, stage: Stage, one_map: bool = False) -> None:
        """Build the adapter of a stage."""
        adapter = build_adapter(stage, self.networks.teacher_stages[stage.name], one_map, self.map_of)
        self.networks.extras[module_key(stage.name)] = adapter

    def target_shapes(self, stage: Stage) -> list[tuple[int, ...]]:
        """The shapes of the comparison's target tensors, without the batch."""
        return [self.networks.teacher_stages[stage.name].shapes[partner] for partner in self.adapter(stage).partners]

    def has(self, stage: Stage) -> bool:
        """Whether a stage has its adapter."""
        return module_key(stage.name) in self.networks.extras

    def adapter(self, stage: Stage) -> AdapterSet:
        """The adapter of a stage."""
        adapter = self.networks.extras[module_key(stage.name)]
        assert isinstance(adapter, AdapterSet)
        return adapter

    def run(self, stages: Sequence[Stage], inputs: Tensor, data_samples: list | None) -> Compared:
        """Run both networks no further than the last of these stages."""
        # the teacher first, while nothing of the student is stored for the gradient
        partners = [self.networks.teacher_stages[stage.name] for stage in stages]
        targets = self.networks.run_teacher(partners, inputs, data_samples)
        return self.adapted(stages, run_to(self.networks.student, stages, inputs), targets)

    def adapted(self, stages: Sequence[Stage], features: Sequence[Feature], targets: Sequence[Feature]) -> Compared:
        """Bring the student's features into the shape of the teacher's."""
        pairs = {}
        for stage, feature, target in zip(stages, features, targets, strict=True):
            adapter = self.adapter(stage)
            pairs[stage.name] = adapter(feature, target), adapter.targets(target)
        return pairs
