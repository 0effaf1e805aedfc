#!/usr/bin/env python3
"""Write docs/levers.md from the lines of a grid: what each lever of SSKD is worth, next to its rivals."""

import json
from collections import defaultdict
from pathlib import Path
from statistics import mean

ROOT = Path(__file__).resolve().parents[2]
ROWS = ROOT / 'docs' / 'device' / 'levers_h100.jsonl'
PAGE = ROOT / 'docs' / 'levers.md'
SHORT = {  # names of the jobs without the seed, and what they are
    'teacher': 'Teacher, resnet56, 40 epochs',
    'alone': 'Student alone',
    'kd': 'KD',
    'mhkd': 'MHKD',
    'paper': "SSKD as the paper has it: stages 3 + 4 + 3 epochs, frozen, the student's own head learns for 10",
    'frozen-inherited': "The same, the head starts as the teacher's: 5 + 6 + 5 epochs, head 4",
    'nolabels': "**No labels**: stages 6 + 7 + 7, then the teacher's head as it is",
    'nolabels-var1': 'The same, loss in units of the variance, weight 1',
    'nolabels-var10': 'The same, loss in units of the variance, weight 10',
    'nolabels-channel': 'The same, loss scaled by channel',
    'together-nolabels': 'No labels, stages together for 20',
    'finetuned': "**SSKD, the default**: stages 3 + 4 + 3, the teacher's head, everything learns for 10",
    'finetuned-lr0.01': 'The same, a fifth of the rate in the last phase',
    'finetuned-15-5': 'The same, stages 5 + 5 + 5, everything for 5',
    'together-finetuned': "Stages together for 10, the teacher's head, everything learns for 10",
    'featurekd': '**FeatureKD**, all stages, weight 1',
    'stages-featurekd': 'SSKD for 3 + 4 + 3, then FeatureKD for 10',
}
BCCD_TEACHER = 41.8  # trained on a CPU, not by the grid
BCCD = {
    'alone24': 'Student alone, 24 epochs, its best length',
    'alone': 'Student alone',
    'kd': 'KD',
    'mhkd': 'MHKD, heads 64 wide',
    'paper': "SSKD as the paper has it: five stages in half of the epochs, frozen, the student's own head",
    'stages-all': '**SSKD, everything learns at the end**: stages 2 + 2 + 2 + 3 + 3, all 24',
    'together-all': 'Stages together for 9, everything for 27',
    'together-all-var': 'The same, loss in units of the variance',
    'together-featurekd6': 'Stages together for 9, FeatureKD with weight 6 for 27',
    'together-featurekd6-var': 'The same, stages in units of the variance',
    'featurekd2': '**FeatureKD**, the pyramid, weight 2',
    'featurekd6': 'FeatureKD, the pyramid, weight 6',
    'featurekd20': 'FeatureKD, the pyramid, weight 20',
    'featurekd6-all-stages': 'FeatureKD, every stage and the pyramid, weight 6',
}
TEXT = """# What makes SSKD pay

Written by `tools/device/levers_page.py` from `docs/device/levers_h100.jsonl`. But for the AP of BCCD's teacher, which
its own training on a CPU told, no number is entered by hand. Misses are printed like hits. The trainings ran side by
side on one {device}, on {date}, by
`tools/device_run.sh grid --jobs tools/device/jobs/levers.py`: commit {commit}, {versions}.

The figure is that of the last epoch: the mean over the seeds, in brackets the lowest and the highest. Every student
trains for the same number of epochs. The seconds are a training's own, with 15 others beside it on 16 cores and one
GPU: they compare rows roughly, and say nothing of another machine. *Cut*: the time was up before its last epoch; no
figure of it counts. Adapters between features of other widths were the least-squares ones in all rows. R2 is that of
the first seed.

"""
ARENAS = {
    'short': (
        SHORT,
        """## CIFAR-100 short: resnet56 teaches resnet20

The protocol `short` of [the results](results.md): 20 classes, 16x16 pixels, 20 epochs. Top-1 in per cent. The teacher
is {lead:.1f} points ahead of the student alone (with twice its epochs).

""",
        1.0,
    ),
    'bccd': (
        BCCD,
        """## BCCD: a GFL on a pretrained MobileNetV2 teaches a narrow GFL

Blood cells, 291 training and 73 validation photos at 160 pixels, 36 epochs, a student of 0.27 million parameters from
scratch; box AP in per cent. The teacher (12 epochs, ImageNet weights, trained on a CPU) has {teacher:.1f},
{lead:.1f} ahead of the student alone at its best length. The set is small: a point is within the spread of seeds.

""",
        100.0,
    ),
}


def groups(rows: list[dict], arena: str) -> dict[str, list[dict]]:
    """The rows of an arena by name, without seeds."""
    found = defaultdict(list)
    for row in rows:
        if row['name'].startswith(f'{arena}_'):
            found[row['name'].removeprefix(f'{arena}_').rpartition('_s')[0]].append(row)
    return found


def table(found: dict[str, list[dict]], titles: dict[str, str], factor: float) -> list[str]:
    """A line for each name."""
    alone = mean(factor * row['last'] for row in found['alone24' if 'alone24' in found else 'alone'])
    lines = ['| | Seeds | Last epoch | Against alone | R2 of the stages | Seconds |', '|---|---|---|---|---|---|']
    for name, title in titles.items():
        done = [row for row in found[name] if row['state'] == 'finished']
        if not done:
            lines.append(f'| {title} | {_listed(found[name])} | cut | | | |')
            continue
        scores = [factor * row['last'] for row in done]
        spread = f' ({min(scores):.1f} to {max(scores):.1f})' if len(scores) > 1 else ''
        seconds = mean(row['seconds'] for row in done)
        lines.append(
            f'| {title} | {_listed(done)} | {mean(scores):.1f}{spread} | {mean(scores) - alone:+.1f} | '
            f'{_explained(done[0])} | {seconds:.0f} |'
        )
    return lines


def _listed(rows: list[dict]) -> str:
    return ', '.join(str(seed) for seed in sorted(row['seed'] for row in rows))


def _explained(row: dict) -> str:
    said = ', '.join(row.get('measured', {}).values())
    parts = [part.split()[-1] for part in said.split(', ') if part.startswith('r2_')]
    return ' '.join(f'{float(part):.2f}' for part in parts)


def main() -> None:
    rows = [json.loads(line) for line in ROWS.read_text().splitlines()]
    page = TEXT.format(**rows[0])
    for arena, (titles, text, factor) in ARENAS.items():
        found = groups(rows, arena)
        if unnamed := found.keys() - titles.keys():
            raise SystemExit(f'error: {PAGE} has no line for {", ".join(sorted(unnamed))}')
        alone = found['alone24' if 'alone24' in found else 'alone']
        teacher = found['teacher'][0]['last'] if 'teacher' in found else BCCD_TEACHER
        lead = teacher - mean(factor * row['last'] for row in alone)
        page += text.format(lead=lead, teacher=teacher) + '\n'.join(table(found, titles, factor)) + '\n\n'
    PAGE.write_text(page.rstrip() + '\n')


if __name__ == '__main__':
    main()
