"""Features mimicked next to the student's own loss."""

from collections.abc import Sequence
from functools import partial

from torch import Tensor, nn

from mmkd.adapters import build_adapter, module_key
from mmkd.distillers.options import check_dict, check_weight
from mmkd.distillers.sskd import SSKD
from mmkd.errors import UserError
from mmkd.prefix import Feature, run_to
from mmkd.random_state import own_randomness
from mmkd.registry import MODELS
from mmkd.schedule import ALL, Phase, check_name
from mmkd.stages import Stage
from mmkd.tasks import task_of

FEATURE_LOSS = 'feature_loss'


@MODELS.register_module()
class FeatureKD(SSKD):
    """The student's own loss and, beside it, the distance of its features to the teacher's.

    Where the schedule has single stages, these learn first as in :class:`SSKD`.

    Args:
        student (dict): The student's model config.
        teacher (dict): ``dict(config=..., checkpoint=...)``.
        places (Sequence[str], optional): Names of the stages that are compared. Defaults to the neck of detectors that
            have one, and to every stage of other networks.
        feature_loss (dict, optional): The distance. Defaults to ``dict(type='mmkd.PKDLoss')``.
        weight (float): Of each place beside the student's own loss. Defaults to 2.0.
        kwargs: Those of :class:`SSKD`.
    """

    head_learns_from_features = False

    def __init__(
        self,
        student: dict,
        teacher: dict,
        places: Sequence[str] | None = None,
        feature_loss: dict | None = None,
        weight: float = 2.0,
        **kwargs,
    ):
        super().__init__(student, teacher, **kwargs)
        self.task = task_of(self.student, self.teacher)
        if places is not None and (isinstance(places, str) or not all(isinstance(name, str) for name in places)):
            raise UserError(f'model.places: it must be a list of names of stages, not {places!r}.')
        self.wanted = places
        with own_randomness():
            self.extras[FEATURE_LOSS] = MODELS.build(
                check_dict('model.feature_loss', feature_loss or dict(type='mmkd.PKDLoss'))
            )
        self.weight = check_weight('model.weight', weight)
        self.places: list[Stage] = []

    def prepare(self, inputs: Tensor) -> None:
        """Find the stages, and those that are compared beside the head."""
        super().prepare(inputs)
        stages = {stage.name: stage for stage in self.plan.stages}
        necks = [name for name, stage in stages.items() if stage.end.split('.')[0] == 'neck']
        wanted = self.wanted if self.wanted is not None else necks or list(stages)
        for name in wanted:
            check_name(name, list(stages), 'model.places')
        self.places = [stages[name] for name in wanted] if self.weight else []

    def default_phases(self) -> list:
        """Everything at once."""
        return [ALL]

    def equip(self, phases: Sequence[Phase]) -> None:
        """Build adapters also for what is compared beside the head."""
        super().equip(phases)
        with own_randomness():
            for stage in self.places:
                if module_key(stage.name) not in self.extras:
                    adapter = build_adapter(stage, self.teacher_stages[stage.name])
                    self.extras[module_key(stage.name)] = adapter.to(next(self.student.parameters()).device)

    def head_loss(self, inputs: Tensor, data_samples: list | None) -> dict:
        """The student's own losses and one for each place."""
        student = partial(self.task.student_outcome, inputs, data_samples, 1.0, self.places)
        if not self.places:
            return student().losses
        targets = self._targets(inputs, data_samples)
        outcome = student()
        return {**outcome.losses, **self._distances(outcome.features, targets)}

    def learns_from_images(self, phase: Phase) -> bool:
        """Features do, beside the head as without it."""
        return bool(self.places) or super().learns_from_images(phase)

    def loss_without_labels(self, inputs: Tensor, data_samples: list | None) -> dict:
        """One for each place."""
        if not self.places:
            return {}
        targets = self._targets(inputs, data_samples)
        return self._distances(run_to(self.student, self.places, inputs), targets)

    def _targets(self, inputs: Tensor, data_samples: list | None) -> list[Feature]:
        """The teacher's features at the places."""
        stages = [self.teacher_stages[stage.name] for stage in self.places]
        return self.teacher.run_to(stages, self.teacher_inputs(inputs, data_samples))

    def _distances(self, features: Sequence[Feature], targets: Sequence[Feature]) -> dict[str, Tensor]:
        losses = {}
        for stage, feature, target in zip(self.places, features, targets):
            adapter = self._adapter(stage.name)
            loss = self.extras[FEATURE_LOSS](adapter(feature, target), adapter.targets(target))
            losses[f'loss_mimic_{stage.name}'] = self.weight * loss
        return losses

    def trained_extras(self) -> list[nn.Module]:
        """The adapters of what is compared, and what the loss has to learn."""
        if not self.learns_head:
            return super().trained_extras()
        return [self.extras[FEATURE_LOSS], *(self._adapter(stage.name) for stage in self.places)] if self.places else []
