"""How a user writes a term beside the student's own loss."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from mmkd.errors import UserError, did_you_mean
from mmkd.objectives.options import check_dict
from mmkd.utils.numbers import check_weight

EMBEDDING, SCORES = 'embedding', 'scores'
"""Places that are no module: the last feature averaged over its positions, and the class scores."""
PREDICTIONS = dict(
    boxes=('bins',),
    near_boxes=('bins',),
    cross_scores=('scores',),
    cross_boxes=('bins', 'boxes'),
    cross_centerness=('centerness',),
)
"""What a loss may compare at the places that are predictions of detectors' dense heads: its attribute ``compares``."""


@dataclass(frozen=True)
class When:
    """The part of a phase in which a term acts: numbers are parts of it, ``dict(epochs=...)`` are epochs.

    Args:
        warm_up: How long its weight grows from 0, linearly.
        until: After what it stops.
    """

    warm_up: float | dict = 0.0
    until: float | dict = 1.0

    def in_parts(self, key: str, epochs: float | None) -> 'When':
        """With parts of the phase in place of epochs, of which it has so many; None where the training counts none."""
        return When(*(part_of(f'{key}.{name}', getattr(self, name), epochs) for name in ('warm_up', 'until')))

    def share(self, progress: float) -> float:
        """Of its weight, when so much of the phase is done; comes after :meth:`in_parts`."""
        assert not isinstance(self.warm_up, dict)
        assert not isinstance(self.until, dict)
        if progress >= self.until:
            return 0.0
        return min(progress / self.warm_up, 1.0) if self.warm_up else 1.0


@dataclass(frozen=True)
class TermOptions:
    """One named term.

    Args:
        loss: The distance.
        places: What it compares.
        weight: Of the loss, beside the loss's own.
        adapt: Whether adapters bring the student's features into the teacher's shape; None: where the loss needs it.
        warm_up: How long the weight grows: a part of the phase, or ``dict(epochs=...)``.
        until: After what it stops, written in the same way.
        own_convs: Of places that begin with ``'cross_'``: how many convolutions of the student's head come before
            the teacher's; None: the teacher's but one.
    """

    loss: dict
    places: Any = None
    weight: float = 1.0
    adapt: bool | None = None
    warm_up: float | dict = 0.0
    until: float | dict = 1.0
    own_convs: int | None = None

    @property
    def when(self) -> When:
        """The part of a phase in which it acts."""
        return When(self.warm_up, self.until)

    @property
    def of_scores(self) -> bool:
        """Whether it compares class scores."""
        return self.places in (SCORES, [SCORES], (SCORES,))

    @property
    def compares_heads(self) -> bool:
        """Whether it compares what heads put out."""
        return self.of_scores or self.prediction is not None

    @property
    def prediction(self) -> str | None:
        """Which prediction of detectors' heads it compares, if it compares one."""
        return next((name for name in PREDICTIONS if self.places in (name, [name], (name,))), None)

    def check(self, key: str) -> None:
        """Raise an error for values that do not fit."""
        check_weight(f'{key}.weight', self.weight)
        for name in ('warm_up', 'until'):
            check_time(f'{key}.{name}', getattr(self, name))
        if self.adapt not in (None, True, False):
            raise UserError(f'{key}.adapt: it must be True or False, or be left out, not {self.adapt!r}.')
        crosses = (self.prediction or '').startswith('cross')
        if self.own_convs is not None and not crosses:
            raise UserError(f"{key}.own_convs: it belongs to places that begin with 'cross_'; leave it out.")
        if self.own_convs is not None and (not isinstance(self.own_convs, int) or self.own_convs < 0):
            raise UserError(f'{key}.own_convs: it must be a whole number of 0 or more, not {self.own_convs!r}.')
        if self.prediction and self.adapt and not crosses:
            raise UserError(f'{key}.adapt: boxes are compared as they are; leave it out.')
        if self.prediction:
            return
        if self.of_scores:
            if self.adapt:
                raise UserError(f'{key}.adapt: class scores are compared as they are; leave it out.')
            return
        if self.places is None:
            return
        if not isinstance(self.places, list | tuple) or not self.places:
            raise UserError(
                f"{key}.places: it must be '{SCORES}' or a list of places (names or indices of stages, module paths, "
                f"pairs of paths, '{EMBEDDING}'), of detectors also {' or '.join(map(repr, PREDICTIONS))}, not "
                f'{self.places!r}.{did_you_mean(str(self.places), [SCORES, *PREDICTIONS])}'
            )
        for name in (SCORES, *PREDICTIONS):
            if name in self.places:
                raise UserError(f"{key}.places: '{name}' stands alone; give other places a term of their own.")


def check_time(key: str, value: Any) -> None:
    """Refuse what is neither a part of a phase nor epochs of it."""
    if not isinstance(value, dict):
        check_weight(key, value, most=1)
    elif set(value) != {'epochs'}:
        raise UserError(f'{key}: it must be a part of the phase, from 0 to 1, or dict(epochs=...), not {value!r}.')
    else:
        check_weight(f'{key}.epochs', value['epochs'])


def part_of(key: str, value: float | dict, epochs: float | None) -> float:
    """A part of a phase that has so many epochs; None where the training counts none."""
    if not isinstance(value, dict):
        return value
    if epochs is None:
        raise UserError(f'{key}: the training counts iterations, no epochs; give a part of the phase, from 0 to 1.')
    if value['epochs'] > epochs:
        raise UserError(
            f'{key}: {value["epochs"]:g} epochs are more than the {epochs:g} of the phase; take fewer, or leave it out.'
        )
    return value['epochs'] / epochs


def read_terms(terms: Any) -> dict[str, TermOptions]:
    """The terms that a user names, checked."""
    found = {}
    for name, options in check_dict('model.terms', terms if terms is not None else {}).items():
        key = f'model.terms.{name}'
        if not isinstance(name, str) or not name.isidentifier():
            raise UserError(f'{key}: a term is named by letters, digits and underscores, not {name!r}.')
        found[name] = TermOptions(**_known(key, check_dict(key, options)))
        found[name].check(key)
    return found


def _known(key: str, options: Mapping[str, Any]) -> dict[str, Any]:
    names: Sequence[str] = [field.name for field in fields(TermOptions)]
    if unknown := [name for name in options if name not in names]:
        near = did_you_mean(str(unknown[0]), names) or f' It takes {", ".join(names)}.'
        raise UserError(f'{key}.{unknown[0]}: a term takes no {unknown[0]}.{near}')
    if 'loss' not in options:
        raise UserError(f"{key}: it has no loss; add one such as loss=dict(type='mmkd.ATLoss').")
    return dict(options)
