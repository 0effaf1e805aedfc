"""Tables of what the runs were told, what they cost and what their stages did."""

import re
from statistics import median
from typing import Any

from mmkd.reporting.groups import Group
from mmkd.reporting.html import Html, breakable, note, table, tag
from mmkd.reporting.run import Run
from mmkd.reporting.settings import comparable
from mmkd.utils.durations import duration


def settings(groups: list[Group]) -> Html:
    """The settings in which the methods differ, side by side; for a single one, its method's."""
    flat = [comparable(group.runs[0].settings) for group in groups]
    keys = list(dict.fromkeys(key for one in flat for key in one))
    if len(groups) == 1:
        chosen = [key for key in keys if key.startswith(('model.', 'optim_wrapper.', 'train_cfg.', 'default_hooks.'))]
        chosen += [key for key in keys if key in ('randomness.seed', 'train_dataloader.batch_size')]
    else:
        chosen = [key for key in keys if _differs(key, groups, flat)]
    if not chosen:
        return note('Nothing but the seed differs.')
    rows = [[tag('code', breakable(key)), *(_setting(one, key) for one in flat)] for key in chosen]
    head = ['setting', *(group.name for group in groups)]
    said = '' if len(groups) == 1 else note(f'{len(keys) - len(chosen)} other settings are the same in all runs.')
    return Html(table(head, rows, id_='settings', class_='settings') + said)


def costs(groups: list[Group]) -> Html:
    """Time, iterations and pace of every run."""
    rows = [_cost(run) for group in groups for run in group.runs]
    head = ['run', 'iterations', 's per iteration', 'images/s', 'training time', 'parameters', 'device']
    return Html(
        table(head, rows, id_='costs')
        + note(
            'The time of training iterations, with loading and without validation. The median iteration counts for the '
            'pace. On a machine that did other work, too, these figures say little.'
        )
    )


def stages(groups: list[Group]) -> Html:
    """What each log says at the end of each stage."""
    rows = [
        [
            tag('span', run.name) if place == 0 else Html('<span class="same"></span>'),
            stage.name,
            f'{stage.iterations:,}',
            stage.time,
            stage.rate,
            stage.first,
            stage.last,
            stage.r2,
        ]
        for group in groups
        for run in group.runs
        for place, stage in enumerate(run.log.ended)
    ]
    head = ['run', 'stage', 'iterations', 'time', 'images/s', 'loss at the start', 'at the end', 'R²']
    return table(head, rows, id_='stage-ends') if rows else Html()


def remarks(groups: list[Group]) -> Html:
    """What the logs warn of."""
    said = [f'{run.name}: {text}' for group in groups for run in group.runs for text in _joined(run.log.remarks)]
    return tag('ul', *(tag('li', text) for text in said), class_='remarks') if said else Html()


def _joined(remarks: list[str]) -> list[str]:
    """Those that end in the same advice as one, with the advice once."""
    alike: dict[str, list[str]] = {}
    for text in dict.fromkeys(remarks):
        found = re.split(r'[;.] ', text, maxsplit=1)[0]
        alike.setdefault(text.removeprefix(found) or text, []).append(found)
    return ['; '.join(found) + advice.removeprefix(found[0]) for advice, found in alike.items()]


def _differs(key: str, groups: list[Group], flat: list[dict[str, Any]]) -> bool:
    """Whether runs differ in a setting; that a student alone lacks those of methods goes without saying."""
    distilled = [one for group, one in zip(groups, flat) if group.method != 'alone']
    counted = distilled if key.startswith('model.') and key != 'model.type' and len(distilled) > 1 else flat
    return len({str(one.get(key)) for one in counted}) > 1


def _setting(one: dict[str, Any], key: str) -> Any:
    return one[key] if key in one and one[key] is not None else tag('span', '-', class_='none')


def _cost(run: Run) -> list:
    times = [record['time'] for record in run.training if isinstance(record.get('time'), float)]
    batch = dict(run.settings.get('train_dataloader') or {}).get('batch_size')
    batch = (batch or 0) * int(run.log.machine.get('GPU number', '1') or 1)
    pace = median(times) if times else None
    device = run.log.machine.get('GPU 0') or ('CPU' if run.log.machine else '')
    return [
        run.name,
        f'{run.at:,}',
        f'{pace:.3g}' if pace else '',
        f'{batch / pace:,.0f}' if pace and batch else '',
        duration(sum(times) / len(times) * run.at) if times else '',
        f'{sum(stage.parameters for stage in run.log.plan):,}' if run.log.plan else '',
        device,
    ]
