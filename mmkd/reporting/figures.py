"""What the runs came to: the last metrics, their spread over seeds, and the distance from the student alone."""

from dataclasses import dataclass
from statistics import mean

from mmkd.reporting.groups import Group
from mmkd.reporting.html import Html, breakable, note, number, table, tag
from mmkd.reporting.run import Run
from mmkd.start_checks.teacher_score import is_better_high


@dataclass
class Spread:
    """A figure of runs that differ in the seed only."""

    values: list[float]

    @property
    def mean(self) -> float:
        """Of all of them."""
        return mean(self.values)

    def __str__(self) -> str:
        if len(self.values) == 1:
            return number(self.mean)
        return f'{number(self.mean)} ({number(min(self.values))} to {number(max(self.values))})'


def last(group: Group, metric: str) -> Spread | None:
    """The last value of a metric in each of the runs that have one."""
    found = [value for run in group.runs if (value := last_of(run, metric)) is not None]
    return Spread(found) if found else None


def last_of(run: Run, metric: str) -> float | None:
    """The last value of a metric."""
    return next((record[metric] for record in reversed(run.validation) if metric in record), None)


def best_of(run: Run, metric: str) -> float | None:
    """The best value of a metric."""
    values = [record[metric] for record in run.validation if metric in record]
    return (max if is_better_high(metric) else min)(values, default=None)


def metrics_of(groups: list[Group]) -> list[str]:
    """The metrics of all runs, the most important first."""
    return list(dict.fromkeys(name for group in groups for run in group.runs for name in run.metrics))


def baseline_of(group: Group, groups: list[Group]) -> Group | None:
    """The same student, trained alone."""
    alone = (other for other in groups if other.method == 'alone' and other.runs[0].student == group.runs[0].student)
    return None if group.method == 'alone' else next(alone, None)


def teacher_score(groups: list[Group]) -> dict[str, float]:
    """The teacher's own score, if all the runs that tell one have the same."""
    scores = [run.log.teacher_score for group in groups for run in group.runs if run.log.teacher_score]
    return scores[0] if scores and all(score == scores[0] for score in scores) else {}


def state_of(group: Group) -> str:
    """How far the runs of a group are."""
    going = [run for run in group.runs if not run.is_done]
    if not going:
        return 'finished'
    run = going[0]
    if run.epochs is not None:
        return f'at epoch {run.at / (run.log.per_epoch or 1):.3g} of {run.epochs}'
    return f'at iteration {run.at:,}' + (f' of {run.budget:,}' if run.budget else '')


def cards(groups: list[Group]) -> Html:
    """One card a method: its figure, and what it gains over the student alone."""
    names = metrics_of(groups)
    if not names:
        return Html()
    main, shown = names[0], []
    teacher = teacher_score(groups).get(main)
    if teacher is not None:
        shown.append(_card('Teacher', 'its own score', number(teacher), '', 'teacher'))
    for place, group in enumerate(groups):
        value = last(group, main)
        gain = _gain(group, groups, main)
        shown.append(_card(group.name, _kind(group), str(value or '-'), gain, f'c{place % 8}'))
    return tag('div', *shown, class_='cards') + note(f'{main} at the last validation.')


def figures_table(groups: list[Group]) -> Html:
    """All metrics of all methods."""
    names = metrics_of(groups)
    if not names:
        return note('No validation has been logged yet.')
    teacher = teacher_score(groups)
    rows: list[list] = []
    if teacher:
        rows.append(['Teacher', '', *(number(teacher.get(name)) for name in names), '', ''])
    for group in groups:
        best = [value for run in group.runs if (value := best_of(run, names[0])) is not None]
        rows.append(
            [
                group.name,
                _kind(group),
                *(last(group, name) or '' for name in names),
                Spread(best) if best else '',
                state_of(group),
            ]
        )
    return table(['run', 'method', *names, f'best {names[0]}', 'state'], rows, id_='figures')


def _kind(group: Group) -> str:
    kind = 'student alone' if group.method == 'alone' else group.method
    return kind if len(group.runs) == 1 else f'{kind}, {len(group.runs)} seeds'


def _gain(group: Group, groups: list[Group], metric: str) -> Html:
    own, base = last(group, metric), baseline_of(group, groups)
    theirs = last(base, metric) if base else None
    if own is None or theirs is None:
        return Html()
    gain = own.mean - theirs.mean
    good = (gain > 0) == is_better_high(metric)
    return tag('span', f'{gain:+.3g} against alone', class_='gain' if good and gain else 'loss')


def _card(name: str, kind: str, figure: str, gain: str, class_: str) -> Html:
    value, _, spread = figure.partition(' (')
    return tag(
        'div',
        tag('div', breakable(name), class_='name'),
        tag('div', kind, class_='kind'),
        tag('div', value, class_='figure'),
        tag('div', f'({spread}' if spread else '', class_='kind'),
        gain,
        class_=f'card {class_}',
    )
