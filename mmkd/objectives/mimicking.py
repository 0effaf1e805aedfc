"""Trains stages of the student by the teacher's features alone."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from mmkd.errors import UserError
from mmkd.features.adapters import module_key
from mmkd.features.explained_variance import R2, variance_parts
from mmkd.losses.feature_mimic import FeatureMimicLoss
from mmkd.objectives.comparison import Compared, Comparison
from mmkd.objectives.given import build_for, build_loss, needs_of
from mmkd.objectives.networks import Networks
from mmkd.objectives.objective import Objective, Step
from mmkd.objectives.options import check_dict
from mmkd.stages.phases import Phase, check_name
from mmkd.stages.plan import Stage
from mmkd.utils.random_state import own_randomness

MIMIC_LOSS = 'mimic_loss'


class StageMimicking(Objective):
    """Some stages mimic the teacher's; no network runs further than the last of them.

    Args:
        networks: The student, its teacher and the extras.
        mimic_loss (dict): The distance between features. Defaults to ``dict(type='mmkd.FeatureMimicLoss')``.
        stage_losses (dict[str, dict]): Other losses for single stages, by stage name.
        shares_map (Callable): Whether all levels of the last feature share one linear map.
        comparison: With adapters of another kind.
    """

    needs_labels = False

    def __init__(
        self,
        networks: Networks,
        mimic_loss: dict | None = None,
        stage_losses: dict[str, dict] | None = None,
        shares_map: Callable[[], bool] = lambda: False,
        comparison: Comparison | None = None,
    ):
        super().__init__(networks)
        self.comparison = comparison or Comparison(networks)
        self.mimic_loss = check_dict('model.mimic_loss', mimic_loss or {})
        self.stage_losses = check_dict('model.stage_losses', stage_losses or {})
        for name, loss in self.stage_losses.items():
            check_dict(f'model.stage_losses.{name}', loss)
        self.shares_map = shares_map

    @property
    def teachable(self) -> tuple[str, ...]:
        """Every stage except the head can be taught, if it has something to learn."""
        return tuple(stage.name for stage in self.networks.plan.stages if not self.networks.is_frozen(stage))

    @property
    def watched_modules(self) -> tuple[set[str], set[str]]:
        """The paths of the ends of all stages of both networks."""
        ends = (self.networks.plan.stages, self.networks.teacher_stages.values())
        return {stage.end for stage in ends[0]}, {stage.end for stage in ends[1]}

    def takes(self, phase: Phase) -> bool:
        """Takes phases without the head."""
        return self.networks.plan.head.name not in phase

    def prepare(self, inputs: Tensor) -> None:
        """Check the names of ``stage_losses``."""
        names = [stage.name for stage in self.networks.plan.stages]
        for name in self.stage_losses:
            check_name(name, names, 'model.stage_losses')

    def build_extras(self, phases: Sequence[Phase]) -> None:
        """Build an adapter and a loss for each stage that is mimicked."""
        plan = self.networks.plan
        mimicked = {name for phase in phases if self.takes(phase) for name in phase}
        stages = [stage for stage in plan.stages if stage.name in mimicked]
        self._check_used({stage.name for stage in stages})
        usual = self.mimic_loss or dict(type='mmkd.FeatureMimicLoss')
        with own_randomness():
            for stage in stages:
                self.comparison.build(stage, one_map=stage is plan.stages[-1] and self.shares_map())
                self._build_loss(stage, usual)

    def _build_loss(self, stage: Stage, usual: dict) -> None:
        """Build the loss of a stage, for the student's feature in the shape of the teacher's."""
        own = stage.name in self.stage_losses
        key = f'model.stage_losses.{stage.name}' if own else 'model.mimic_loss'
        loss = build_loss(key, self.stage_losses[stage.name] if own else usual)
        if needs := [*needs_of(loss), *getattr(loss, 'build_needs', ())]:
            raise UserError(
                f'{key}: {type(loss).__name__} needs {" and ".join(needs)}, and a stage learns from images alone; take '
                'another loss, or name it in the terms of mmkd.FeatureKD.'
            )
        shapes = self.comparison.target_shapes(stage)
        build_for(key, loss, self.networks, (shapes, shapes))
        self.networks.extras[_loss_key(stage.name)] = loss

    def loss_of(self, name: str) -> nn.Module:
        """The loss of a stage."""
        return self.networks.extras[_loss_key(name)]

    def losses(self, step: Step) -> dict:
        """The mimic loss of each stage."""
        pairs = self.compare(step)
        return {f'loss_mimic_{name}': self.loss_of(name)(own, target) for name, (own, target) in pairs.items()}

    def compare(self, step: Step) -> Compared:
        """The adapted features of the stages, and what they mimic."""
        stages = [stage for stage in self.networks.plan.stages if stage.name in step.phase]
        return self.comparison.run(stages, step.inputs, step.data_samples)

    def learns_from_images(self, phase: Phase) -> bool:
        """No mimic loss needs labels."""
        return True

    def trained_extras(self, phase: Phase) -> list[nn.Module]:
        """The adapters, and losses with parameters."""
        extras = self.networks.extras
        return [module for name in phase for module in (extras[module_key(name)], self.loss_of(name))]

    def steep(self, phase: Phase) -> Phase:
        """Those that end without a norm layer, if their distance is summed over the channels: they may diverge."""
        open_ended = [stage.name for stage in self.networks.plan.stages if stage.name in phase and not stage.normed]
        return tuple(name for name in open_ended if isinstance(self.loss_of(name), FeatureMimicLoss))

    def measures(self, phase: Phase) -> bool:
        """All its phases can be measured."""
        return True

    def measure(self, step: Step) -> dict[str, Tensor]:
        """The mimic loss and the parts of the explained variance of each stage."""
        pairs = self.compare(step)
        losses = [self.loss_of(name)(own, target) for name, (own, target) in pairs.items()]
        parts = {f'{R2}{name}': variance_parts(own, target) for name, (own, target) in pairs.items()}
        return {MIMIC_LOSS: torch.stack(losses).sum(), **parts}

    def _check_used(self, mimicked: set[str]) -> None:
        """Refuse losses that the schedule never computes."""
        idle = [f'stage_losses.{name}' for name in self.stage_losses if name not in mimicked]
        if self.mimic_loss and not mimicked - set(self.stage_losses):
            idle.insert(0, 'mimic_loss')
        if idle:
            raise UserError(
                f'model.{idle[0]}: no phase of the schedule computes it, since stages mimic the teacher only in phases '
                'without the head; leave it out, or list the stages in default_hooks.stages.stages.'
            )


def _loss_key(name: str) -> str:
    """The key of a stage's loss in the extras."""
    return f'{module_key(name)}_loss'
