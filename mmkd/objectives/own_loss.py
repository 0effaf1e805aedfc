"""The student's own loss, and the terms beside it."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Protocol, TypeVar

import torch
from torch import Tensor, nn

from mmkd.features.capture import feature_of, recording, run_to
from mmkd.objectives.networks import Networks
from mmkd.objectives.objective import Objective, Step
from mmkd.objectives.term import Seen, Term
from mmkd.stages.phases import Phase
from mmkd.stages.plan import Stage
from mmkd.tasks import Outcome
from mmkd.tasks.base import weighted

T = TypeVar('T')


class Forwards(Protocol):
    """How the two networks run in an iteration, see :class:`mmkd.tasks.base.Task`."""

    def run_both(self, student: Callable[[], Outcome], teacher: Callable[[Outcome | None], T]) -> tuple[Outcome, T]:
        """Run one network, then the other."""

    def student_outcome(
        self, inputs: Tensor, data_samples: list | None, weight: float, stages: Sequence[Stage] = ()
    ) -> Outcome:
        """The student's own losses times a weight, and the outputs that terms read."""

    def teacher_outcome(self, inputs: Tensor, student: Outcome | None = None, stages: Sequence[Stage] = ()) -> Outcome:
        """The teacher's scores and features."""


class OwnLoss(Objective):
    """The student's own loss in the phases with the head, and terms beside it, all in one forward.

    Args:
        networks: The student, its teacher and the extras.
        terms: In the order in which they are summed.
        weight: Of the student's own losses.
        forwards: The task of the networks where a term compares scores; features need none.
    """

    needs_labels = True

    def __init__(
        self, networks: Networks, terms: Sequence[Term], weight: float = 1.0, forwards: Forwards | None = None
    ):
        super().__init__(networks)
        self.terms, self.weight = terms, weight
        self.forwards = WithoutScores(networks.student) if forwards is None else forwards

    @property
    def watched_modules(self) -> tuple[set[str], set[str]]:
        """The paths that any term reads."""
        pairs = [term.watched_modules for term in self.terms]
        return set().union(*(own for own, _ in pairs)), set().union(*(theirs for _, theirs in pairs))

    def takes(self, phase: Phase) -> bool:
        """Takes phases with the head."""
        return self.networks.plan.head.name in phase

    def prepare(self, inputs: Tensor) -> None:
        """Prepare the terms."""
        for term in self.terms:
            term.prepare(inputs)

    def build_extras(self, phases: Sequence[Phase]) -> None:
        """Build what the terms need."""
        for term in self.terms:
            term.build_extras(phases)

    def losses(self, step: Step) -> dict:
        """The losses of the student and of the terms."""
        terms = [term for term in self.terms if term.acts_at(step)]
        stages = _all(term.student_stages(step.phase) for term in terms)
        weight = self.weight if step.labelled else 0
        student = partial(self.forwards.student_outcome, step.inputs, step.data_samples, weight, stages)
        outcome, teacher = self.forwards.run_both(student, partial(self._run_teacher, terms, step))
        seen = _seen(outcome, stages)
        losses = dict(outcome.losses)
        if 'loss' in losses and any(term.acts_in(step.phase) for term in self.terms):
            losses['loss_own'] = losses.pop('loss')  # mmengine gives this name to the sum of all losses
        for term in terms:
            losses.update(term.losses(step, seen, teacher))
        if step.labelled and (idle := self._idle(step, terms)):
            losses['loss_idle'] = torch.stack([0 * parameter.sum() for parameter in idle]).sum()
        return losses

    def choices(self, phase: Phase, progress: float) -> tuple:
        """Which terms are active, and what they answer."""
        step = Step(phase, torch.empty(0), None, progress)
        return tuple((term.acts_at(step), *term.choices(phase, progress)) for term in self.terms)

    def _idle(self, step: Step, acting: Sequence[Term]) -> list[nn.Parameter]:
        """Parameters of this phase's terms that are not in use now: DDP waits for the gradients of all."""
        others = [term for term in self.terms if term.acts_in(step.phase) and term not in acting]
        modules = [m for term in others for m in (*term.trained_extras(step.phase), *term.trained_losses(step.phase))]
        return list({id(one): one for module in modules for one in module.parameters() if one.requires_grad}.values())

    def learns_from_images(self, phase: Phase) -> bool:
        """The student's own loss needs labels; a term may need none."""
        return any(term.learns_from_images(phase) for term in self.terms)

    def trained_extras(self, phase: Phase) -> list[nn.Module]:
        """The extras of all terms; losses come last, as in the optimizer states of older checkpoints."""
        acting = [term for term in self.terms if term.acts_in(phase)]
        modules = [module for term in acting for module in term.trained_extras(phase)]
        modules += [loss for term in acting for loss in term.trained_losses(phase)]
        return list({id(module): module for module in modules}.values())  # terms may share adapters

    def measures(self, phase: Phase) -> bool:
        """It can be measured if a term can."""
        return any(term.measures(phase) for term in self.terms)

    def measure(self, step: Step) -> dict[str, Tensor]:
        """The measures of all terms."""
        terms = [term for term in self.terms if term.measures(step.phase)]
        return {name: value for term in terms for name, value in term.measure(step).items()}

    def _run_teacher(self, terms: Sequence[Term], step: Step, student: Outcome | None) -> Seen:
        """Run the teacher no further than the terms need."""
        stages = _all(term.teacher_stages(step.phase) for term in terms)
        if any(term.needs_teacher_scores for term in terms):
            inputs = self.networks.teacher_inputs(step.inputs, step.data_samples)
            return _seen(self.forwards.teacher_outcome(inputs, student, stages), stages)
        features = self.networks.run_teacher(stages, step.inputs, step.data_samples) if stages else []
        return _seen(Outcome({}, None, features), stages)


class WithoutScores:
    """Runs networks of any task, where terms read features only.

    Args:
        student: The network that learns.
    """

    def __init__(self, student: nn.Module):
        self.student = student

    def run_both(self, student: Callable[[], Outcome], teacher: Callable[[Outcome | None], T]) -> tuple[Outcome, T]:
        """Run the teacher first, while no activations of the student are stored for its gradient."""
        theirs = teacher(None)
        return student(), theirs

    def student_outcome(
        self, inputs: Tensor, data_samples: list | None, weight: float, stages: Sequence[Stage] = ()
    ) -> Outcome:
        """Run the student to its own loss; with a weight of 0 only to the last of the stages."""
        if not weight:
            return Outcome({}, None, run_to(self.student, stages, inputs))
        with recording(self.student, stages) as outputs:
            losses = weighted(self.student.loss(inputs, data_samples), weight)  # type: ignore[operator]
        return Outcome(losses, None, [feature_of(outputs[stage.end], len(inputs)) for stage in stages])

    def teacher_outcome(self, inputs: Tensor, student: Outcome | None = None, stages: Sequence[Stage] = ()) -> Outcome:
        """Terms that read features need no scores."""
        raise NotImplementedError


def _all(stages: Iterable[list[Stage]]) -> list[Stage]:
    """Remove repeated stages."""
    return list({stage.end: stage for some in stages for stage in some}.values())


def _seen(outcome: Outcome, stages: Sequence[Stage]) -> Seen:
    features = {stage.end: feature for stage, feature in zip(stages, outcome.features, strict=True)}
    return Seen(outcome.scores, features)
