"""The results of a training from its log, even if it was cut off."""

import json
import math
import re
from pathlib import Path

STAGE_END = re.compile(r'Stage \S+ ends: .*')
MEASURED = re.compile(r'Stage (\S+) on the validation set: (.*)')
TEACHER = re.compile(r"The teacher's own score on the student's validation images: (.*)")


def outcome_of(folder: Path, metric: str) -> dict:
    """The metric at every validation, the last losses, and what the log tells of the stages."""
    validated, learned = scalars(folder, metric)
    console = folder / 'console.log'
    text = console.read_text(errors='replace') if console.is_file() else ''
    told: dict = dict(metric=metric, stages=stage_table(text))
    if validated:
        last = max(validated)
        told.update(last=validated[last], step=last, best=max(validated.values()), curve=list(validated.values()))
    if measured := dict(MEASURED.findall(text)):  # the last of each stage
        told.update(measured=measured)
    if learned:
        told.update(losses=learned)
    if score := TEACHER.search(text):
        told.update(teacher_score=score.group(1).strip())
    return told


def scalars(folder: Path, metric: str) -> tuple[dict[int, float], dict[str, float]]:
    """The metric by epoch or iteration, and the last line of losses."""
    validated: dict[int, float] = {}
    learned: dict[str, float] = {}
    for log in sorted(folder.glob('*/vis_data/scalars.json')):
        for line in log.read_text().splitlines():
            try:
                values = json.loads(line)
            except ValueError:  # the end of a log that was cut
                continue
            if metric in values:
                validated[values['step']] = round(values[metric], 4)
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
