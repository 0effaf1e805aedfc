"""The page, made of its parts."""

import json
from datetime import datetime
from pathlib import Path
from string import Template
from typing import Any

from mmkd.reporting import curves, facts, figures, plan_picture
from mmkd.reporting.depth import heads_by_depth
from mmkd.reporting.groups import Group
from mmkd.reporting.html import Html, note, safe, section, tag
from mmkd.utils.signatures import bare_name
from mmkd.version import __version__

ASSETS = Path(__file__).parent / 'assets'


def page(groups: list[Group], measured: list[Html]) -> str:
    """The whole file.

    Args:
        groups: The runs, those that differ in the seed only together.
        measured: Further sections, made with the runs' checkpoints.
    """
    shared = curves.shared_curves(groups)
    in_epochs = curves.all_in_epochs(groups)
    own = {group.runs[0].name: curves.own_curves(group.runs[0], in_epochs) for group in groups}
    charts = [*shared, *(chart for several in own.values() for chart in several)]
    place = {id(chart): number for number, chart in enumerate(charts)}
    dashed = any(chart.get('markers') for chart in shared)
    parts = [
        section('result', 'Result', figures.cards(groups), figures.figures_table(groups), facts.remarks(groups)),
        section('settings-section', 'What differs' if len(groups) > 1 else 'Settings', facts.settings(groups)),
        section(
            'curves',
            'Curves',
            _plots([chart for chart in shared if not chart.get('more')], place, 'wide'),
            note('Dashed lines: the next stage begins.') if dashed else '',
            _spread_note(groups),
            _folded('Other metrics', _plots([chart for chart in shared if chart.get('more')], place)),
        ),
        section(
            'inside',
            'Inside each run',
            *(tag('h3', name) + _plots(several, place) for name, several in own.items() if several),
        ),
        section('plan', 'Stages of student and teacher', plan_picture.pictures(groups)),
        heads_by_depth(groups),
        *measured,
        section('cost', 'Cost', facts.costs(groups), _titled('Stages', facts.stages(groups))),
    ]
    kept = [part for part in parts if part]
    return Template((ASSETS / 'page.html').read_text()).substitute(
        title=safe(_title(groups)),
        subtitle=safe(_subtitle(groups)),
        style=_read('uplot.css') + _read('page.css'),
        links=''.join(tag('a', _heading(part), href=f'#{_id(part)}') for part in kept),
        body=''.join(kept),
        data=json.dumps(charts, allow_nan=False).replace('<', '\\u003c'),
        script=_read('uplot.js') + _read('page.js'),
        foot=safe(f'Made by mmkd {__version__} on {datetime.now():%Y-%m-%d %H:%M}. Drawn by uPlot (MIT).'),
    )


def _read(name: str) -> str:
    return (ASSETS / name).read_text()


def _plots(charts: list[dict], place: dict[int, int], class_: str = '') -> Html:
    plots = [
        tag('figure', tag('figcaption', chart['title']), class_='plot', data_chart=place[id(chart)]) for chart in charts
    ]
    return tag('div', *plots, class_=f'plots {class_}'.strip()) if plots else Html()


def _folded(title: str, inside: Html) -> Html:
    return tag('details', tag('summary', title), inside) if inside else Html()


def _titled(title: str, inside: Html) -> Html:
    return tag('h3', title) + inside if inside else Html()


def _spread_note(groups: list[Group]) -> Any:
    if all(len(group.runs) == 1 for group in groups):
        return ''
    return note(
        'Shaded: from the lowest to the highest of the runs that differ in the seed only; the line is their mean.'
    )


def _title(groups: list[Group]) -> str:
    names = [group.name for group in groups]
    return names[0] if len(names) == 1 else f'{len(names)} trainings compared'


def _subtitle(groups: list[Group]) -> str:
    runs = [run for group in groups for run in group.runs]
    dataset = dict(runs[0].settings.get('val_dataloader') or {}).get('dataset') or {}
    data = str(dataset.get('data_root') or dataset.get('ann_file') or dataset.get('type') or '').rstrip('/')
    student = runs[0].student
    backbone = dict(student.get('backbone') or {})
    network = ' '.join(
        str(part) for part in (backbone.get('type'), backbone.get('depth') or backbone.get('arch')) if part
    )
    kind = bare_name(student.get('type', ''))
    said = [
        f'{len(runs)} runs' if len(runs) > 1 else f'{runs[0].method} run',
        f'student {kind} ({network})',
        f'data {data}',
    ]
    return ' · '.join(said)


def _id(part: Html) -> str:
    return part.partition('id="')[2].partition('"')[0]


def _heading(part: Html) -> Html:
    return Html(part.partition('<h2>')[2].partition('</h2>')[0])
