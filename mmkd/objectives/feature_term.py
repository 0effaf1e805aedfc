"""The distance of the student's features to the teacher's."""

from collections.abc import Sequence

from torch import Tensor, nn

from mmkd.errors import UserError
from mmkd.objectives.comparison import Comparison
from mmkd.objectives.networks import Networks
from mmkd.objectives.objective import Step
from mmkd.objectives.options import check_dict, check_weight
from mmkd.objectives.term import Seen, Term
from mmkd.registry import MODELS
from mmkd.stages.pairing import in_neck
from mmkd.stages.phases import Phase, check_name
from mmkd.stages.plan import Stage
from mmkd.utils.random_state import own_randomness

FEATURE_LOSS = 'feature_loss'


class FeatureTerm(Term):
    """How far the student is from the teacher's feature at each of some places.

    Args:
        networks: The student, its teacher and the extras.
        weight (float): Of each place. With 0 there are none.
        places (Sequence[str], optional): Names of stages. Defaults to the neck of detectors that have one, and to every
            stage of other networks.
        loss (dict, optional): The distance. Defaults to ``dict(type='mmkd.PKDLoss')``.
    """

    def __init__(
        self, networks: Networks, weight: float, places: Sequence[str] | None = None, loss: dict | None = None
    ):
        super().__init__(networks)
        self.comparison = Comparison(networks)
        self.weight = check_weight('model.weight', weight)
        if places is not None and (isinstance(places, str) or not all(isinstance(name, str) for name in places)):
            raise UserError(f'model.places: it must be a list of names of stages, not {places!r}.')
        self.given = dict(places=places is not None, feature_loss=loss is not None)
        self.wanted = places
        self.places: list[Stage] = []  # none without weight
        with own_randomness():
            networks.extras[FEATURE_LOSS] = MODELS.build(
                check_dict('model.feature_loss', loss or dict(type='mmkd.PKDLoss'))
            )

    def prepare(self, inputs: Tensor) -> None:
        """Find the places."""
        stages = {stage.name: stage for stage in self.networks.plan.stages}
        necks = [name for name, stage in stages.items() if in_neck(stage)]
        wanted = self.wanted if self.wanted is not None else necks or list(stages)
        for name in wanted:
            check_name(name, list(stages), 'model.places')
        self.places = [stages[name] for name in wanted] if self.weight else []

    def build_extras(self, phases: Sequence[Phase]) -> None:
        """Build an adapter for each place that has none yet."""
        places = {stage.name: stage for phase in phases for stage in self.student_stages(phase)}
        if not places:
            self._check_given()
        with own_randomness():
            for stage in places.values():
                if not self.comparison.has(stage):
                    self.comparison.build(stage)

    def acts_in(self, phase: Phase) -> bool:
        """If something is compared."""
        return bool(self.student_stages(phase))

    def student_stages(self, phase: Phase) -> list[Stage]:
        """The places that change, so none before the first stage that learns, and none without the head."""
        plan = self.networks.plan
        if plan.head.name not in phase:
            return []
        stages = [stage.name for stage in plan]
        first = next(index for index, name in enumerate(stages) if name in phase)
        return [stage for stage in self.places if stage.name in stages[first:]]

    def teacher_stages(self, phase: Phase) -> list[Stage]:
        """Their partners."""
        return self.comparison.partners(self.student_stages(phase))

    def losses(self, step: Step, student: Seen, teacher: Seen) -> dict[str, Tensor]:
        """The distance at each place."""
        places = self.student_stages(step.phase)
        targets = teacher.of(self.comparison.partners(places))
        pairs = self.comparison.adapted(places, student.of(places), targets)
        return {f'loss_mimic_{name}': self.weight * self.loss(own, target) for name, (own, target) in pairs.items()}

    @property
    def loss(self) -> nn.Module:
        """The distance."""
        return self.networks.extras[FEATURE_LOSS]

    def learns_from_images(self, phase: Phase) -> bool:
        """Features need no labels."""
        return self.acts_in(phase)

    def trained_extras(self, phase: Phase) -> list[nn.Module]:
        """The adapters."""
        return [self.comparison.adapter(stage) for stage in self.student_stages(phase)]

    def trained_losses(self, phase: Phase) -> list[nn.Module]:
        """The distance."""
        return [self.loss]

    def _check_given(self) -> None:
        """Refuse options if nothing is compared."""
        for name, is_given in self.given.items():
            if is_given:
                raise UserError(
                    f"model.{name}: nothing is mimicked beside the student's own loss, since no stage that is compared "
                    'learns together with the head, or model.weight is 0, as always in MHKD; leave it out.'
                )
