"""Heat maps of how alike the stages of student and teacher are, before the training and now."""

import copy
from collections import defaultdict
from dataclasses import dataclass, field

import torch
from torch import Tensor

from mmkd.errors import UserError
from mmkd.features.capture import run_to
from mmkd.features.similarity import linear_cka, mapped_cosine, pooled
from mmkd.reporting.html import Html, note, section, tag
from mmkd.reporting.networks import Measured
from mmkd.stages.plan import Stage

FRESH, STUDENT, TEACHER = 'before', 'now', 'teacher'


@dataclass
class FeatureSimilarity:
    """The features of one distillation at the ends of its stages."""

    measured: Measured
    why_not: str = ''  # there are none
    features: dict[tuple[str, str], list[Tensor]] = field(default_factory=lambda: defaultdict(list))

    def see(self, batch: dict) -> None:
        """Keep the features of a batch as the data set gives it."""
        networks = self.measured.networks
        assert networks is not None
        data = networks.preprocessor(copy.deepcopy(batch), False)
        inputs, samples = data['inputs'], data['data_samples']
        if not self.features and not self.why_not:
            try:
                networks.pair_stages(inputs, self.measured.pairs)
            except UserError as error:  # a method that compares scores alone needs no pairs
                self.why_not = str(error)
        if self.why_not:
            return
        both = networks.padded_for_both(inputs)
        stages = networks.plan.stages
        theirs = list(networks.teacher_stages.values())
        fresh = self.measured.fresh
        assert fresh is not None
        self._keep(STUDENT, stages, run_to(networks.student, stages, both))
        self._keep(FRESH, stages, run_to(fresh, stages, both))
        self._keep(TEACHER, theirs, networks.run_teacher(theirs, both, samples))

    def _keep(self, whose: str, stages, features) -> None:
        for stage, feature in zip(stages, features):
            self.features[whose, stage.end].append(pooled(stage, feature).float().cpu())

    def of(self, whose: str, stage: Stage) -> Tensor:
        """All images' features of a stage."""
        return torch.cat(self.features[whose, stage.end])

    def cka(self, whose: str) -> list[list[float]]:
        """A row for each of the student's stages, a column for each of the teacher's."""
        theirs = [self.of(TEACHER, teacher) for _, teacher in self.pairs]
        return [[linear_cka(self.of(whose, own), column) for column in theirs] for own, _ in self.pairs]

    def cosines(self, whose: str) -> list[float]:
        """Of each stage with its own of the teacher."""
        return [mapped_cosine(self.of(whose, own), self.of(TEACHER, teacher)) for own, teacher in self.pairs]

    @property
    def pairs(self) -> list[tuple[Stage, Stage]]:
        """The stages that belong together."""
        networks = self.measured.networks
        assert networks is not None
        return [(stage, networks.teacher_stages[stage.name]) for stage in networks.plan.stages]


def heat_maps(all_features: list[FeatureSimilarity]) -> Html:
    """Both maps and the cosines of every distillation."""
    if not all_features:
        return Html()
    found = [tag('h3', one.measured.name) + (_maps(one) if one.features else note(one.why_not)) for one in all_features]
    count = next((len(one.of(STUDENT, one.pairs[0][0])) for one in all_features if one.features), 0)
    said = (
        f'Linear CKA on {count} validation images: 1 where features differ by a rotation and a scale, about 0 where '
        "they have nothing in common. Rows are the student's stages, columns the teacher's. "
        'Before: the same student with new weights. Cosine: between the vectors of the '
        "teacher and the best linear map of the student's, fitted to half of the images and judged on the others."
    )
    return section('similarity', 'Similarity of student and teacher', *found, note(said))


def _maps(one: FeatureSimilarity) -> Html:
    tables = [_map(one, FRESH, 'CKA before'), _map(one, STUDENT, 'CKA now')]
    values = zip(one.cosines(FRESH), one.cosines(STUDENT))
    rows = [tag('tr', tag('th', _short(own)), *map(_cell, both)) for (own, _), both in zip(one.pairs, values)]
    head = tag('tr', tag('th', ''), tag('th', 'before'), tag('th', 'now'))
    cosine = tag('figure', tag('figcaption', 'Cosine'), tag('table', head, *rows, class_='heat'))
    return tag('div', *tables, cosine, class_='heats')


def _map(one: FeatureSimilarity, whose: str, title: str) -> Html:
    """The student's stages as rows, the teacher's as columns."""
    theirs = [teacher for _, teacher in one.pairs]
    head = tag('tr', tag('th', ''), *(tag('th', _short(stage)) for stage in theirs))
    rows = [
        tag('tr', tag('th', _short(own)), *map(_cell, values)) for (own, _), values in zip(one.pairs, one.cka(whose))
    ]
    return tag(
        'figure', tag('figcaption', title), tag('div', tag('table', head, *rows, class_='heat'), class_='scroll')
    )


def _cell(value: float) -> Html:
    shown = min(max(value, 0.0), 1.0)
    return tag('td', f'{value:.2f}', style=f'--v:{shown:.3f}', class_='high' if shown > 0.55 else 'low')


def _short(stage: Stage) -> str:
    return stage.end.removeprefix('backbone.')
