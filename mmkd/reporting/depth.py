"""How accurate the auxiliary heads of both networks are, by depth."""

from mmkd.reporting.figures import last_of, metrics_of, teacher_score
from mmkd.reporting.groups import Group
from mmkd.reporting.html import Html, note, number, section, table, tag
from mmkd.reporting.run import Run


def heads_by_depth(groups: list[Group]) -> Html:
    """A table for each run with such heads: the last figures of both networks, and what their own heads have."""
    runs = [
        group.runs[0]
        for group in groups
        if any('_heads/' in key for record in group.runs[0].measures for key in record)
    ]
    metrics = metrics_of(groups)
    tables = [Html(tag('h3', run.name) + _table(run, metrics[0] if metrics else '', groups)) for run in runs]
    return section(
        'heads', 'Heads by depth', *tables, note('Accuracy at the last validation, in percent.') if runs else ''
    )


def _table(run: Run, metric: str, groups: list[Group]) -> Html:
    latest = {key: value for record in run.measures for key, value in record.items() if '_heads/' in key}
    names = list(dict.fromkeys(key.partition('/')[2] for key in latest))
    rows = []
    for name in names:
        own, theirs = latest.get(f'student_heads/{name}'), latest.get(f'teacher_heads/{name}')
        rows.append([name, _bar(own, 'c0'), _bar(theirs, 'c7')])
    rows.append(['own head', _bar(last_of(run, metric), 'c0'), _bar(teacher_score(groups).get(metric), 'c7')])
    return table(['depth', 'student', 'teacher'], rows, class_='bars')


def _bar(value: float | None, colour: str) -> Html:
    if value is None:
        return Html('-')
    bar = f'<i style="left:0;width:{min(max(value, 0), 100):.1f}%;background:var(--{colour})"></i>'
    return Html(f'<span class="gain-figure">{number(value)}</span>' + tag('div', Html(bar), class_='bar'))
