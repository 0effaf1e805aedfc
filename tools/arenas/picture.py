"""The picture in README: what the methods gain over the student alone, as docs/pictures/gains.svg."""

from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path
from statistics import mean

from files import write_whole
from gains import METHODS, Gains

OURS = {'mhkd', 'featurekd', 'sskd', 'nolabels'}
WIDTH, ROOM, LEFT, BAR, STEP, HEAD = 226, 150, 118, 16, 24, 52
STYLE = """
text { font: 13px system-ui, sans-serif; fill: #24292f }
.small { font-size: 11px; fill: #57606a }
.title { font-weight: 600 }
.plain { fill: #afb8c1 } .ours { fill: #2da44e } line { stroke: #57606a; stroke-dasharray: 3 3 }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 } .small { fill: #9198a1 } .plain { fill: #57606a } .ours { fill: #3fb950 }
  line { stroke: #9198a1 }
}"""


def write_picture(gains: Sequence[Gains], path: Path) -> None:
    """Draw the methods' means, a panel for each arena."""
    height = HEAD + STEP * len(METHODS) + 20
    width = WIDTH * len(gains) + LEFT
    parts = [part for place, panel in enumerate(gains) for part in _panel(panel, LEFT + place * WIDTH)]
    names = [
        f'<text x="{LEFT - 8}" y="{_y(line) + 12}" text-anchor="end">{escape(name)}</text>'
        for line, name in enumerate(METHODS.values())
    ]
    size = f'viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
    title = '<title>Students of the same size, and their teacher</title>'
    svg = [f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">', title, f'<style>{STYLE}</style>']
    note = f'<text class="small" x="{LEFT}" y="{height - 6}">Bars begin below the student alone, not at 0.</text>'
    path.parent.mkdir(exist_ok=True)
    write_whole(path, '\n'.join([*svg, *names, *parts, note, '</svg>\n']))


def _panel(gains: Gains, left: int) -> Iterator[str]:
    """The bars of one arena, from a little below the student alone to the teacher."""
    means = {key: mean(scores) for key, scores in gains.scores.items()}
    teacher, alone = means.pop('teacher'), means['alone']
    low = alone - 0.25 * abs(teacher - alone)
    high = max(teacher, *means.values())

    def x(score: float) -> float:
        return round(left + ROOM * max(0.0, score - low) / (high - low), 1)

    yield f'<text class="title" x="{left}" y="16">{escape(gains.title)}</text>'
    yield f'<text class="small" x="{left}" y="32">{escape(gains.unit)}; teacher {teacher:.1f} (dashed)</text>'
    for line, key in enumerate(METHODS):
        if key in means:
            kind = 'ours' if key in OURS else 'plain'
            end = x(means[key])
            yield f'<rect class="{kind}" x="{left}" y="{_y(line)}" width="{end - left:.1f}" height="{BAR}" rx="2"/>'
            yield f'<text x="{max(end, x(teacher)) + 5:.1f}" y="{_y(line) + 12}">{means[key]:.1f}</text>'
    bottom = _y(len(METHODS) - 1) + BAR + 4
    yield f'<line x1="{x(teacher)}" x2="{x(teacher)}" y1="{_y(0) - 4}" y2="{bottom}"/>'


def _y(line: int) -> int:
    return HEAD - 8 + STEP * line
