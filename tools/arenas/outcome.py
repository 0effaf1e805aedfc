"""The results of a training from its log, even if it was cut off."""

import json
import math
import re
from collections.abc import Collection
from pathlib import Path

STAGE_END = re.compile(r'Stage \S+ ends: .*')
MEASURED = re.compile(r'Stage (\S+) on the validation set: (.*)')
TEACHER = re.compile(r"The teacher's own score on the student's validation images: (.*)")


def outcome_of(folder: Path, metric: str, also: Collection[str] = ()) -> dict:
    """The metric at every validation, others at the last one, the last losses, and what the log tells of the stages."""
    validated, learned = scalars(folder, metric, also)
    console = folder / 'console.log'
    text = console.read_text(errors='replace') if console.is_file() else ''
    told: dict = dict(metric=metric, stages=stage_table(text))
    if validated:
        step = max(validated)
        curve = [scores[metric] for scores in validated.values()]
        told.update(last=validated[step][metric], step=step, best=max(curve), curve=curve)
        if also:
            told.update(also={name: validated[step].get(name) for name in also})
    if measured := dict(MEASURED.findall(text)):  # the last of each stage
        told.update(measured=measured)
    if learned:
        told.update(losses=learned)
    if score := TEACHER.search(text):
        told.update(teacher_score=score.group(1).strip())
    return told


def scalars(
    folder: Path, metric: str, also: Collection[str] = ()
) -> tuple[dict[int, dict[str, float]], dict[str, float]]:
    """The metrics by epoch or iteration, and the last line of losses."""
    validated: dict[int, dict[str, float]] = {}
    learned: dict[str, float] = {}
    for log in sorted(folder.glob('*/vis_data/scalars.json')):
        for line in log.read_text().splitlines():
            try:
                values = json.loads(line)
            except ValueError:  # the end of a log that was cut
                continue
            if metric in values:
                known = (name for name in (metric, *also) if name in values)
                validated[values['step']] = {name: round(values[name], 4) for name in known}
            elif 'loss' in values:
                kept = {key: value for key, value in values.items() if isinstance(value, int | float)}
                learned = {key: float(f'{value:.4g}') for key, value in kept.items() if math.isfinite(value)}
    return validated, learned


def stage_table(text: str) -> list[str]:
    """The summary of the stages; of a training that was cut, the stages that have ended."""
    _, found, rest = text.rpartition('Summary of the stages:\n')
    if not found:
        return [match.group() for match in STAGE_END.finditer(text)]
    lines = []
    for line in rest.splitlines():
        if not line.startswith('  '):
            break
        lines.append(line.strip())
    return lines
