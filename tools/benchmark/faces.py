#!/usr/bin/env python3
"""Train small face networks alone and distilled, verify them on small stand-ins, and write docs/results_faces.md.

It goes on where it was stopped. The data are made by tools/dataset_converters/identities.py.
"""

import json
import subprocess
import sys
import time
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

sys.path[:0] = [str(Path(__file__).resolve().parents[2]), str(Path(__file__).resolve().parent)]

from files import ROOT, read_json, write_json, write_whole
from surroundings import surroundings

from mmkd.errors import UserError

WORK_DIR = Path('work_dirs/results')
TEACHER, STUDENT = 'iresnet34-w16', 'iresnet18-w8'
METHODS = dict(
    teacher=f'baselines/{TEACHER}', student=f'baselines/{STUDENT}',
    **{method: f'{method}/{method}_{TEACHER}_{STUDENT}' for method in ('kd', 'sskd', 'mhkd')},
)  # fmt: skip
TITLES = dict(teacher='Teacher', student='Student alone', kd='KD', sskd='SSKD', mhkd='MHKD')
EPOCHS = {'olivetti': 40, 'cifar100-identities': 10}
TEXTS = {
    'olivetti': 'The Olivetti faces (credit: AT&T Laboratories Cambridge): 300 grey photos of 30 people to learn from, '
    '100 of 10 others to verify, 64x64 pixels. 40 epochs each.',
    'cifar100-identities': "CIFAR-100's classes as people: 40,000 images of 80 classes to learn from, 2,000 test "
    'images of 20 others to verify, 32x32 pixels. 10 epochs each.',
}
INTRO = """# Verification on small stand-ins

Written by `tools/benchmark/faces.py` from trainings; no number is entered by hand. Small stand-ins: they say whether a
method helps on people never seen, not what it reaches on faces. Per cent, last epoch: mean over the seeds, in brackets
the lowest and the highest. Each seed has a teacher of its own. The accuracy is that of `pairs.txt` in ten folds, TAR
that of all pairs.
"""


def spread(values: Sequence[float]) -> str:
    """The mean, and the lowest and highest of several values."""
    return f'{mean(values):.2f}' + (f' ({min(values):.2f} to {max(values):.2f})' if len(values) > 1 else '')


@dataclass(frozen=True)
class Run:
    """A training and its test."""

    data: str
    method: str
    seed: int

    @property
    def folder(self) -> Path:
        """The work dir."""
        return WORK_DIR / 'faces' / self.data / self.method / f'seed{self.seed}'

    @property
    def checkpoint(self) -> Path:
        """The checkpoint that is tested."""
        return self.folder / f'epoch_{EPOCHS[self.data]}.pth'

    @property
    def result(self) -> dict | None:
        """The scores; None if the training is not finished."""
        return read_json(self.folder / 'result.json')

    @property
    def commands(self) -> list[list[str]]:
        """The commands of the training and of the plain student's test."""
        configs = ROOT / 'configs'
        options = [f'randomness.seed={self.seed}']
        if self.method not in ('teacher', 'student'):
            options.append(f'model.teacher.checkpoint={Run(self.data, "teacher", self.seed).checkpoint}')
        train = [str(configs / f'{METHODS[self.method]}_{self.data}.py'), '--work-dir', str(self.folder), '--resume']
        plain = METHODS['teacher' if self.method == 'teacher' else 'student']
        test = [str(configs / f'{plain}_{self.data}.py'), str(self.checkpoint), '--work-dir', str(self.folder / 'test')]
        return [['train.py', *train, '--cfg-options', *options], ['test.py', *test]]


def in_a_process(command: Sequence[str], log: Path) -> int:
    """Run a tool with its output in a file."""
    with log.open('a') as stream:
        program = [sys.executable, str(ROOT / 'tools' / command[0]), *command[1:]]
        return subprocess.run(program, stdout=stream, stderr=stream).returncode


def finish(run: Run, start: Callable[[Sequence[str], Path], int] = in_a_process) -> str:
    """Train and test, unless both are done; describe the result."""
    if run.result:
        return 'is finished'
    run.folder.mkdir(parents=True, exist_ok=True)
    where, begun = surroundings(), time.time()
    for command in run.commands:
        if start(command, run.folder / 'console.log'):
            raise UserError(f'{run.folder}: {command[0]} failed; see its console.log.')
    found = {**last(run.folder.glob('*/vis_data/scalars.json')), **last((run.folder / 'test').glob('*/*.json'))}
    result = {name: value for name, value in found.items() if 'accuracy' in name or 'TAR' in name}
    write_json(run.folder / 'result.json', dict(result, seconds=round(time.time() - begun), **where))
    return f'has {found["face/accuracy"]:.2f} %'


def last(logs: Sequence[Path]) -> dict[str, float]:
    """The last scores in the logs of a tool."""
    lines = [json.loads(line) for log in sorted(logs) for line in log.read_text().splitlines()]
    scores = [{name: value for name, value in line.items() if name.startswith('face/')} for line in lines]
    return [row for row in scores if row][-1]


def section(data: str) -> str:
    """The table of one set, with the finished trainings."""
    rows: dict[str, dict[int, dict]] = {}
    for method in METHODS:
        seeds = sorted(int(path.name[4:]) for path in (WORK_DIR / 'faces' / data / method).glob('seed*'))
        rows[method] = {seed: found for seed in seeds if (found := Run(data, method, seed).result)}
    results = [result for found in rows.values() for result in found.values()]
    lines = [f'## {data}', '', TEXTS[data], '']
    if not results:
        return '\n'.join([*lines, 'Not run.', ''])
    for key, title in dict(device='Device', versions='Versions', commit='Commit', date='Trained on').items():
        lines.append(f'- {title}: {"; ".join(dict.fromkeys(result[key] for result in results))}')
    names = [name for name in results[0] if 'TAR' in name]
    titles = [name.removeprefix('face/').replace('@', ' at ').replace('=', ' ') for name in names]
    lines += ['', f'| | Seeds | Accuracy | {" | ".join(titles)} |', '|---' * (3 + len(names)) + '|']
    for method, found in rows.items():
        cells = [spread([result[name] for result in found.values()]) for name in ['face/accuracy', *names] if found]
        cells = cells or ['not run', *[''] * len(names)]
        lines.append(f'| {TITLES[method]} | {", ".join(map(str, found))} | {" | ".join(cells)} |')
    return '\n'.join([*lines, ''])


def main() -> None:
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument('--data', nargs='+', choices=EPOCHS, default=list(EPOCHS), help='[all]')
    parser.add_argument('--methods', nargs='+', choices=METHODS, default=list(METHODS), help='[all]')
    parser.add_argument('--seeds', nargs='+', type=int, default=[0, 1, 2], metavar='SEED', help='[0 1 2]')
    parser.add_argument('--write-only', action='store_true', help='train nothing')
    parser.add_argument('--out', type=Path, default=Path('docs/results_faces.md'), help='[docs/results_faces.md]')
    args = parser.parse_args()
    for run in [] if args.write_only else [Run(d, m, s) for d in args.data for s in args.seeds for m in METHODS]:
        if run.method in ('teacher', *args.methods):
            print(f'{run.folder} {finish(run)}', flush=True)
            write_whole(args.out, '\n'.join([INTRO, *map(section, EPOCHS)]))
    write_whole(args.out, '\n'.join([INTRO, *map(section, EPOCHS)]))
    print(f'wrote {args.out}')


if __name__ == '__main__':
    try:
        main()
    except UserError as error:
        sys.exit(f'error: {error}')
