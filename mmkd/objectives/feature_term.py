"""The distance of the student's features to the teacher's."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from mmkd.features.adapters import AdapterSet, build_adapter, module_key
from mmkd.features.capture import Feature
from mmkd.features.layout import Layout
from mmkd.losses.common import times
from mmkd.objectives.given import build_for, build_loss, check_given, given, needs_samples, norm_at
from mmkd.objectives.networks import Networks
from mmkd.objectives.objective import Step
from mmkd.objectives.places import Place, default_names, find_places
from mmkd.objectives.term import Seen, Term
from mmkd.objectives.term_options import TermOptions
from mmkd.stages.phases import Phase
from mmkd.stages.plan import Stage
from mmkd.utils.random_state import own_randomness

FEATURE_LOSS = 'feature_loss'


@dataclass(frozen=True)
class Compared:
    """One call of the loss: all places of a loss that relates them to each other, else one place.

    Args:
        logged: The loss's name in logs.
        places: What is compared.
    """

    logged: str
    places: tuple[Place, ...]

    def changes(self, phase: Phase) -> bool:
        """Whether one of its features does."""
        return any(place.changes(phase) for place in self.places)


class FeatureTerm(Term):
    """How far the student is from the teacher's feature at each of some places.

    Args:
        networks: The student, its teacher and the extras.
        options: The loss, the places and the rest; with a weight of 0 there are no places.
        name: Of a term that the user names; None for the distiller's own options.
    """

    def __init__(self, networks: Networks, options: TermOptions, name: str | None = None):
        super().__init__(networks)
        self.options, self.name, self.when = options, name, options.when
        self.key = 'model' if name is None else f'model.terms.{name}'
        self.extra = FEATURE_LOSS if name is None else f'term_{name}'
        self.loss_key = f'{self.key}.{FEATURE_LOSS if name is None else "loss"}'
        self.loss = build_loss(self.loss_key, options.loss)  # each call has a copy, with parameters of its own
        self.calls: list[Compared] = []  # none without weight
        self.partners: dict[str, tuple[int, ...]] = {}  # by place: of each tensor, the teacher's that it is like
        self.adapted: set[str] = set()  # places whose features are brought into the teacher's shape

    @property
    def places(self) -> list[Place]:
        """All that are compared."""
        return [place for call in self.calls for place in call.places]

    @property
    def watched_modules(self) -> tuple[set[str], set[str]]:
        """Where the places end."""
        return {place.student.end for place in self.places}, {place.teacher.end for place in self.places}

    def prepare(self, inputs: Tensor) -> None:
        """Find the places."""
        wanted = self.options.places if self.options.places is not None else default_names(self.networks)
        places = find_places(wanted, self.networks, inputs, f'{self.key}.places')
        if not self.options.weight:
            return
        check_given(self.loss_key, self.loss, self.networks)
        prefix = 'loss_mimic' if self.name is None else f'loss_term_{self.name}'
        if getattr(self.loss, 'at_once', False):
            self.calls = [Compared(prefix, tuple(places))]
        else:
            one = self.name is not None and len(places) == 1
            self.calls = [Compared(prefix if one else f'{prefix}_{place.name}', (place,)) for place in places]

    def build_extras(self, phases: Sequence[Phase]) -> None:
        """Build a loss for each call that is made, and an adapter for each place that needs one and has none yet."""
        self.when = self.options.when.in_parts(self.key, self.networks.epochs)
        calls = [call for call in self.calls if any(call in self._acting(phase) for phase in phases)]
        losses = nn.ModuleDict()
        for call in calls:
            with own_randomness():
                losses[module_key(call.logged)] = loss = copy.deepcopy(self.loss)
                shapes = [self._build_adapter(place) for place in call.places]
            own, theirs = ([shape for pair in shapes for shape in pair[side]] for side in (0, 1))
            teacher = self.networks.teacher.network
            norms = [norm_at(teacher, place.teacher.end) for place in call.places for _ in self.partners[place.name]]
            build_for(self.loss_key, loss, self.networks, (own, theirs), norms)
        if losses:
            self.networks.extras[self.extra] = losses

    def _build_adapter(self, place: Place) -> tuple[list[tuple[int, ...]], list[tuple[int, ...]]]:
        """Build the adapter of a place if it needs one; the shapes of what will be compared."""
        own, theirs = place.as_compared(place.student), place.as_compared(place.teacher)
        adapter = build_adapter(own, theirs)
        self.partners[place.name] = adapter.partners
        targets = [theirs.shapes[partner] for partner in adapter.partners]
        wanted = self.options.adapt
        if wanted is None:
            wanted = self._needs_adapter(own, theirs, targets)
        if not wanted:
            return list(own.shapes), targets
        self.adapted.add(place.name)
        if module_key(place.name) not in self.networks.extras:
            self.networks.extras[module_key(place.name)] = adapter
        return targets, targets

    def _needs_adapter(self, own: Stage, theirs: Stage, targets: Sequence[tuple[int, ...]]) -> bool:
        """Whether the loss cannot compare these features as they are."""
        alike = getattr(self.loss, 'alike', 'shapes')
        layouts = [(Layout.of(own, shape), Layout.of(theirs, target)) for shape, target in zip(own.shapes, targets)]
        if any((a.prefix, a.channels_last) != (b.prefix, b.channels_last) for a, b in layouts):
            return True
        return alike == 'shapes' or (alike == 'sizes' and any(a.grid != b.grid for a, b in layouts))

    def acts_in(self, phase: Phase) -> bool:
        """If something is compared."""
        return bool(self._acting(phase))

    def acts_at(self, step: Step) -> bool:
        """In its part of the phase, and where there are labels if its loss needs them."""
        if needs_samples(self.loss) and not step.labelled:
            return False
        return self.acts_in(step.phase) and bool(self.when.share(step.progress))

    def _acting(self, phase: Phase) -> list[Compared]:
        """The calls of features that change, so none before the first stage that learns, and none without the head."""
        if self.networks.plan.head.name not in phase:
            return []
        return [call for call in self.calls if call.changes(phase)]

    def _places(self, phase: Phase) -> list[Place]:
        return [place for call in self._acting(phase) for place in call.places]

    def student_stages(self, phase: Phase) -> list[Stage]:
        """Those that end at the places."""
        return [place.student for place in self._places(phase)]

    def teacher_stages(self, phase: Phase) -> list[Stage]:
        """Their partners."""
        return [place.teacher for place in self._places(phase)]

    def losses(self, step: Step, student: Seen, teacher: Seen) -> dict[str, Tensor]:
        """The distance in each call."""
        weight = self.options.weight * self.when.share(step.progress)
        more = given(self.loss, self.networks, step)
        losses = {}
        for call in self._acting(step.phase):
            pairs = [self._pair(place, student, teacher) for place in call.places]
            own, theirs = (tuple(tensor for pair in pairs for tensor in pair[side]) for side in (0, 1))
            losses[call.logged] = times(weight, self.loss_of(call)(own, theirs, **more))
        return losses

    def _pair(self, place: Place, student: Seen, teacher: Seen) -> tuple[Feature, Feature]:
        """The features of both networks at a place, as the loss gets them."""
        own = place.compared(place.student, student.features[place.student.end])
        theirs = place.compared(place.teacher, teacher.features[place.teacher.end])
        targets = tuple(theirs[partner] for partner in self.partners[place.name])
        return (self._adapter(place)(own, theirs) if place.name in self.adapted else own), targets

    def _adapter(self, place: Place) -> AdapterSet:
        adapter: Any = self.networks.extras[module_key(place.name)]
        return adapter

    def loss_of(self, call: Compared) -> nn.Module:
        """The loss of a call."""
        losses: Any = self.networks.extras[self.extra]
        return losses[module_key(call.logged)]

    def learns_from_images(self, phase: Phase) -> bool:
        """Features need no labels; some losses do."""
        return self.acts_in(phase) and not needs_samples(self.loss)

    def trained_extras(self, phase: Phase) -> list[nn.Module]:
        """The adapters."""
        return [self._adapter(place) for place in self._places(phase) if place.name in self.adapted]

    def trained_losses(self, phase: Phase) -> list[nn.Module]:
        """The distances."""
        return [self.loss_of(call) for call in self._acting(phase)]
