"""The distance of what dense heads of detectors predict, at the places that the student's own loss says."""

from collections.abc import Sequence
from inspect import signature
from typing import Any

from mmengine.dist import all_reduce
from torch import Tensor, nn

from mmkd.errors import UserError
from mmkd.features.least_squares import LeastSquares
from mmkd.losses.common import times
from mmkd.objectives.given import boxes, build_loss, elsewhere
from mmkd.objectives.networks import Networks
from mmkd.objectives.objective import Step
from mmkd.objectives.term import Seen, Term
from mmkd.objectives.term_options import PREDICTIONS, TermOptions
from mmkd.stages.phases import Phase
from mmkd.tasks.base import Task
from mmkd.tasks.detection import Detection
from mmkd.tasks.predictions import has_bins, map_name

WEIGHED = ('weights', 'divisor')
MAPS = 'cross_maps'
NEAR_DIVISOR = 16  # as published
_TINY = 1e-6


class PredictionTerm(Term):
    """Boxes of both networks (LD), or what the teacher's head makes of the student's features (CrossKD).

    LD sums over the places of objects, each weighted by the student's own confidence, or over those near them, each
    weighted by its overlap. CrossKD weights boxes by the teacher's confidence, and divides by the sum of these weights
    where heads have distributions. All else it divides by what the student's class loss is divided by; of centerness
    only the places of objects count.

    Args:
        networks: The student, its teacher and the extras.
        task: Of both networks.
        options: The loss, which prediction, and the rest.
        name: The term's.
    """

    needs_teacher_scores = True

    def __init__(self, networks: Networks, task: Task, options: TermOptions, name: str):
        super().__init__(networks)
        self.key, self.extra, self.logged = f'model.terms.{name}', f'term_{name}', f'loss_term_{name}'
        self.place = place = options.prediction
        if not isinstance(task, Detection) or place is None:
            raise UserError(
                f"{self.key}.places: '{place}' is what a dense head of a detector predicts, and a "
                f'{type(networks.student).__name__} is none; take another method.'
            )
        self.task, self.options, self.when = task, options, options.when
        self.crosses = place.startswith('cross')
        loss = build_loss(f'{self.key}.loss', options.loss, WEIGHED)
        self.form = str(getattr(loss, 'compares', None))
        if self.form not in PREDICTIONS[place]:
            raise UserError(
                f"{self.key}.loss: {type(loss).__name__} does not compare what places='{place}' is; take another "
                f'loss{elsewhere(loss)}.'
            )
        self.is_weighed = 'weights' in signature(loss.forward).parameters
        networks.extras[self.extra] = loss
        if options.weight:
            self.task.check_predicted(self.key, self.form)

    @property
    def loss(self) -> nn.Module:
        """The distance."""
        return self.networks.extras[self.extra]

    @property
    def watched_modules(self) -> tuple[set[str], set[str]]:
        """The convolutions between which the student's features leave its own head."""
        paths = {f'bbox_head.{path}' for path in self.paths} if self.acts_in(()) else set()
        return paths, paths

    def prepare(self, inputs: Tensor) -> None:
        """Check that both heads fit."""
        self.paths: tuple[str, ...] = ()
        self.widths: dict[str, tuple[int, int]] = {}
        if not self.options.weight:
            return
        batches = inputs, self.networks.teacher_inputs(inputs)
        self.task.predict(self.key, inputs)
        if self.crosses:
            self.convs, self.widths = self.task.cross(self.key, *batches, self.options.own_convs)
            self.paths = tuple(self.widths)
            if self.options.adapt is False and any(own != theirs for own, theirs in self.widths.values()):
                raise UserError(
                    f"{self.key}.adapt: the widths of both heads' convolutions differ "
                    f'({next(iter(self.widths.values()))}), so a map must join them; leave adapt out.'
                )

    def build_extras(self, phases: Sequence[Phase]) -> None:
        """Build a map for each branch whose widths differ; two terms share them."""
        self.when = self.when.in_parts(self.key, self.networks.epochs)
        maps = {map_name(path): LeastSquares(*pair) for path, pair in self.widths.items() if pair[0] != pair[1]}
        if maps:
            known = self.networks.extras[MAPS] if MAPS in self.networks.extras else nn.ModuleDict()
            known.update({name: one for name, one in maps.items() if name not in known})  # type: ignore[operator]
            self.networks.extras[MAPS] = known

    def acts_in(self, phase: Phase) -> bool:
        """With the head, if it has a weight."""
        return bool(self.options.weight)

    def acts_at(self, step: Step) -> bool:
        """In its part of the phase, where there are labels: the student's own loss says which places count."""
        return step.labelled and self.acts_in(step.phase) and bool(self.when.share(step.progress))

    def losses(self, step: Step, student: Seen, teacher: Seen) -> dict[str, Tensor]:
        """The distance times the weight."""
        own, theirs = student.predictions, teacher.predictions
        pair = [own.through(theirs, self.convs, self._maps) if self.crosses else own, theirs]
        more = self._weights(own, theirs, step) if self.is_weighed else ()
        weight = self.options.weight * self.when.share(step.progress)
        return {self.logged: times(weight, self.loss(*(getattr(said, self.form) for said in pair), *more))}

    @property
    def _maps(self) -> Any:
        extras: Any = self.networks.extras
        return dict(extras[MAPS].items()) if MAPS in extras else {}

    def _weights(self, own: Any, theirs: Any, step: Step) -> tuple[Tensor, Tensor | float]:
        """Of each row that is compared, and the divisor of the sum."""
        if self.form == 'scores':
            return own.targets.weights, own.targets.divisor
        sides = 4 if self.form == 'bins' else 1
        if self.place == 'near_boxes':
            assert step.data_samples is not None
            return own.near(boxes(step.data_samples)).repeat_interleave(sides), NEAR_DIVISOR
        if not self.crosses:  # as published: a sum over the objects, not a mean
            weights = own.confidence * own.targets.objects(own.head.num_classes)
            return weights.repeat_interleave(sides), sides
        if self.form == 'centerness':
            return own.targets.objects(own.head.num_classes).float(), own.targets.divisor
        weights = theirs.confidence * (own.targets.weights > 0)
        if not has_bins(own.head):
            return weights, own.targets.divisor
        total = weights.sum()
        all_reduce(total, 'mean')
        return weights.repeat_interleave(sides), sides * (total + _TINY)

    def learns_from_images(self, phase: Phase) -> bool:
        """It needs labels."""
        return False

    def trained_extras(self, phase: Phase) -> list[nn.Module]:
        """The maps."""
        return [self.networks.extras[MAPS]] if self.widths and MAPS in self.networks.extras else []

    def trained_losses(self, phase: Phase) -> list[nn.Module]:
        """The distance."""
        return [self.loss]
