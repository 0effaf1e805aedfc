"""Reads what a run's text log tells beside the scalars: its stages, its pace, the teacher's score."""

import re
from dataclasses import dataclass, field
from pathlib import Path

TRAINING = re.compile(rb'\((train)\)')
PER_EPOCH = re.compile(r'Epoch\(train\)\s+\[\d+\]\[\s*\d+/(\d+)\]')
STAGE = re.compile(r'  (?P<name>\S+)\s+(?P<parameters>[\d,]+) parameters  (?P<rest>.*)')
SHAPES = r'\d+(?:x\d+)*(?:, \d+(?:x\d+)*)*'
MIMICS = re.compile(rf'(?P<own>{SHAPES})? *(?:mimics (?P<end>\S+) (?P<theirs>{SHAPES})|(?P<words>.*))')
ENDED = re.compile(
    r'Stage (?P<name>\S+) ends: (?P<iterations>[\d,]+) iterations? in (?P<time>.+?), (?P<rate>\S+) images/s, '
    r'loss (?P<first>\S+) at the start, (?P<last>[^\s;]+) at the end'
)
R2 = re.compile(r'r2_(\S+) (-?[\d.e+-]+)')
SAID = re.compile(r'^(?:\d{4}/)?\d\d/\d\d \d\d:\d\d:\d\d - \w+ - (?P<level>\w+) - (?P<text>.*)')
TELLING = ('Stage ', 'The student ends', 'THE TEACHER', 'The teacher is not scored', 'The head ')


@dataclass
class PlannedStage:
    """A stage of the student, and what it learns from."""

    name: str
    parameters: int
    shapes: str
    words: str  # what it learns from
    teacher_end: str = ''
    teacher_shapes: str = ''


@dataclass
class EndedStage:
    """What the log says at a stage's end."""

    name: str
    iterations: int
    time: str
    rate: str
    first: str
    last: str
    r2: str


@dataclass
class Log:
    """What one log tells."""

    per_epoch: int | None = None  # iterations
    resumed_at: int = 0  # iterations
    unit: str = ''
    phases: list[tuple[str, int]] = field(default_factory=list)  # name and length
    plan: list[PlannedStage] = field(default_factory=list)
    ended: list[EndedStage] = field(default_factory=list)
    heads: list[tuple[str, str, str]] = field(default_factory=list)  # name, of the student, of the teacher
    teacher_score: dict[str, float] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)  # warnings of mmkd's own
    machine: dict[str, str] = field(default_factory=dict)


def read_log(file: Path) -> Log:
    """Read a log; lines about single iterations are passed over."""
    log = Log()
    r2: dict[str, str] = {}
    with file.open('rb') as lines:
        for line in lines:
            if log.per_epoch is not None and TRAINING.search(line):
                continue
            _see(line.decode(errors='replace').rstrip(), log, r2)
    return log


def _see(line: str, log: Log, r2: dict[str, str]) -> None:
    said = SAID.match(line)
    text = said['text'] if said else line
    if found := PER_EPOCH.search(text):
        log.per_epoch = int(found[1])
    elif text.startswith('Schedule in '):
        unit, _, lengths = text.removeprefix('Schedule in ').partition(': ')
        log.unit = unit
        log.phases = [(name, int(count)) for name, count in (part.rsplit(' ', 1) for part in lengths.split(', '))]
    elif 'on the validation set: ' in text:
        r2.update(R2.findall(text))
    elif found := ENDED.match(text):
        explained = ' '.join(f'{float(value.rstrip(",")):.2f}' for value in r2.values())
        iterations = int(found['iterations'].replace(',', ''))
        log.ended.append(
            EndedStage(
                found['name'], iterations, found['time'], found['rate'], found['first'], found['last'], explained
            )
        )
        r2.clear()
    elif found := re.match(r'resumed epoch: \d+, iter: (\d+)', text):
        log.resumed_at = int(found[1])
    elif text.startswith("The teacher's own score"):
        pairs = re.findall(r'([^\s,:]+) (-?[\d.e+-]+)(?:,|$)', text.partition(': ')[2])
        log.teacher_score = {key: float(value) for key, value in pairs}
    elif text.startswith('Auxiliary heads on '):
        log.heads = re.findall(r'(\S+) \(student (\S+), teacher (\S+)\)', text)
    elif said and said['level'] == 'WARNING' and text.startswith(TELLING):
        log.remarks.append(text)
    elif not said and (found := STAGE.match(line)):
        log.plan.append(_planned(found))
    elif not said and (found := re.match(r'\s+(PyTorch|GPU 0|GPU number|CUDA available): (.+)', line)):
        log.machine.setdefault(found[1], found[2])


def _planned(found: re.Match) -> PlannedStage:
    parameters = int(found['parameters'].replace(',', ''))
    told = MIMICS.match(found['rest'])
    if told is None:
        return PlannedStage(found['name'], parameters, '', found['rest'])
    if told['end']:
        return PlannedStage(found['name'], parameters, told['own'] or '', 'mimics', told['end'], told['theirs'])
    return PlannedStage(found['name'], parameters, told['own'] or '', (told['words'] or '').strip())
