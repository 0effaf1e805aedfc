"""The stages of both networks and the schedule, drawn with plain boxes."""

from mmkd.reporting.groups import Group
from mmkd.reporting.html import Html, note, tag
from mmkd.reporting.log import PlannedStage
from mmkd.reporting.run import Run

TIMES = '\N{MULTIPLICATION SIGN}'
ARROW = Html(
    '<svg viewBox="0 0 60 12" class="arrow" aria-hidden="true"><path d="M60 6H6M12 1 4 6l8 5" fill="none"/></svg>'
)


def pictures(groups: list[Group]) -> Html:
    """One picture for each way in which a student was divided."""
    shown: dict[str, Html] = {}
    for group in groups:
        run = group.runs[0]
        if run.log.plan:
            shown[group.name] = Html(_picture(run) + _schedule(run))
    if not shown:
        return Html()
    figures = [tag('figure', tag('figcaption', name), shown[name], class_='plan') for name in shown]
    return tag('div', *figures, class_='plans')


def _picture(run: Run) -> Html:
    """A row a stage: the student's, what passes between the two, the teacher's."""
    heads = {name: end for name, _, end in run.log.heads}
    rows = [
        Html(
            tag('div', 'student', class_='column')
            + tag('div', '', class_='column')
            + tag('div', 'teacher', class_='column')
        )
    ]
    for stage in run.log.plan:
        rows.append(_row(stage, heads.get(stage.name, ''), run.method))
    return tag('div', *rows, class_='stages')


def _row(stage: PlannedStage, head: str, method: str) -> Html:
    own = _box(stage.name, stage.shapes, f'{stage.parameters:,} parameters')
    if stage.teacher_end:
        theirs = _box(stage.teacher_end.removeprefix('backbone.'), stage.teacher_shapes, '')
        return Html(own + _between('mimics', True) + theirs)
    if head:
        return Html(own + _between('heads learn from', True) + _box(head.removeprefix('backbone.'), '', 'with a head'))
    from_scores = method in ('KD', 'MHKD') and stage.name == 'head'
    if from_scores:
        return Html(own + _between('soft targets', True) + _box('head', '', ''))
    words = stage.words.replace('has no loss of its own', 'no loss of its own')
    return Html(own + tag('div', words, class_='between') + tag('div', '', class_='box absent'))


def _box(name: str, shapes: str, more: str) -> Html:
    sizes = shapes.replace('x', f' {TIMES} ').replace(', ', ' · ')
    lines = [tag('b', name), *(tag('small', line) for line in (sizes, more) if line)]
    return tag('div', *lines, class_='box')


def _between(words: str, arrow: bool) -> Html:
    return tag('div', words, ARROW if arrow else '', class_='between')


def _schedule(run: Run) -> Html:
    """The phases as parts of one bar, as long as they are."""
    unit = run.log.unit
    parts = [
        tag('div', tag('b', name), tag('small', f'{length:,}'), style=f'flex:{length} 1 0', title=f'{name} {length}')
        for name, length in run.log.phases
    ]
    return tag('div', *parts, class_='schedule') + note(f'In {unit}.') if parts else Html()
