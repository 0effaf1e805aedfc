"""The curves of the page, as data for its script."""

import math
from statistics import mean
from typing import Any

from mmkd.reporting.figures import metrics_of, teacher_score
from mmkd.reporting.groups import Group
from mmkd.reporting.run import Run

LARGEST = 8  # curves in one picture that can still be told apart
Points = list[tuple[float, float]]


def shared_curves(groups: list[Group]) -> list[dict]:
    """Pictures with all runs in them: the metrics, the sum of the losses, the learning rate."""
    names = metrics_of(groups)
    teacher = teacher_score(groups)
    charts = [
        _chart(name, groups, lambda run, name=name: _points(run.validation, name), teacher=teacher.get(name))
        for name in names
    ]
    for chart in charts[1:]:
        chart['more'] = True
    loss = _chart('loss', groups, lambda run: _points(run.training, 'loss'), log=True)
    rate = _chart('lr', groups, lambda run: _points(run.training, 'lr'), title='learning rate')
    return [chart for chart in [*charts[:1], loss, rate, *charts[1:]] if chart['series']]


def own_curves(run: Run, in_epochs: bool) -> list[dict]:
    """Pictures of one run: its loss terms, and what was measured of its stages."""
    terms = sorted(
        {key for record in run.training for key in record if key.startswith('loss_') and key != 'loss_scale'}
    )
    kinds = dict.fromkeys(_kind(key) for record in run.measures for key in record if key != 'iteration')
    wanted = [('loss terms', terms, run.training, True)] if terms else []
    for kind in kinds:
        keys = dict.fromkeys(key for record in run.measures for key in record if _kind(key) == kind)
        wanted.append((TITLES.get(kind, kind), list(keys), run.measures, kind == 'mimic_loss'))
    scale = _scale(run, in_epochs)
    return [
        dict(
            id=f'{run.name}-{title}',
            title=title,
            x='epoch' if in_epochs else 'iteration',
            log=log,
            stages=[[name, begin / scale, end / scale] for name, begin, end in run.phases if len(run.phases) > 1],
            series=[
                _series(_short(key), [(x / scale, y) for x, y in _points(records, key)], place)
                for place, key in enumerate(keys[:LARGEST])
            ],
        )
        for title, keys, records, log in wanted
    ]


TITLES = {
    'r2': "R² of the teacher's features",
    'cka': "CKA with the teacher's features",
    'cosine': "cosine with the teacher's features",
    'heads': 'accuracy of the auxiliary heads',
    'mimic_loss': 'mimic loss on the validation set',
}
OF_STAGES = ('r2', 'cka', 'cosine')  # measures with the name of a stage behind them


def all_in_epochs(groups: list[Group]) -> bool:
    """Whether all runs count epochs, which is then the axis of the curves."""
    return all(run.log.per_epoch and run.epochs is not None for group in groups for run in group.runs)


def _kind(key: str) -> str:
    if key == 'iteration':
        return ''
    begin = key.partition('_')[0]
    return begin if begin in OF_STAGES else 'heads' if '_heads/' in key else key


def _short(key: str) -> str:
    if _kind(key) in OF_STAGES:
        return key.partition('_')[2]
    return key.removeprefix('loss_').replace('_heads/', ' ')


def _chart(
    name: str, groups: list[Group], points: Any, log: bool = False, title: str = '', teacher: float | None = None
) -> dict:
    in_epochs = all_in_epochs(groups)
    series, markers = [], []
    for place, group in enumerate(groups):
        each = [[(x / _scale(run, in_epochs), y) for x, y in points(run)] for run in group.runs]
        each = [one for one in each if one]
        if each:
            series.append(_spread(group.name, each, place))
        run = group.runs[0]
        markers += [
            [phase, begin / _scale(run, in_epochs), place] for phase, begin, _ in run.phases[1:] if len(groups) > 1
        ]
    only = groups[0].runs[0]
    scale = _scale(only, in_epochs)
    bands = only.phases if len(groups) == 1 and len(only.phases) > 1 else []
    return dict(
        id=name,
        title=title or name,
        x='epoch' if in_epochs else 'iteration',
        log=log,
        series=series,
        markers=markers,
        stages=[[phase, begin / scale, end / scale] for phase, begin, end in bands],
        line=None if teacher is None else ['teacher', teacher],
    )


def _scale(run: Run, in_epochs: bool) -> int:
    return run.log.per_epoch or 1 if in_epochs else 1


def _points(records: list[dict], key: str) -> Points:
    pairs = [(record.get('iteration', record.get('iter')), record.get(key)) for record in records]
    return [(x, y) for x, y in pairs if x is not None and isinstance(y, int | float) and math.isfinite(y)]


def _spread(name: str, each: list[Points], colour: int) -> dict:
    """One curve, or the mean of several at the places that all of them have, between the lowest and the highest."""
    if len(each) == 1:
        return _series(name, each[0], colour)
    runs = [dict(points) for points in each]
    places = sorted(set(runs[0]).intersection(*runs[1:]))
    values = [[run[x] for run in runs] for x in places]
    found = _series(name, [(x, mean(ys)) for x, ys in zip(places, values)], colour)
    return {**found, 'low': [min(ys) for ys in values], 'high': [max(ys) for ys in values]}


def _series(name: str, points: Points, colour: int) -> dict:
    return dict(
        label=name,
        x=[round(x, 4) for x, _ in points],
        y=[float(f'{y:.6g}') for _, y in points],
        colour=colour % LARGEST,
    )
