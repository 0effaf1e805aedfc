#!/usr/bin/env python3
"""Write docs/levers.md from the lines of the grids: what each lever of SSKD is worth, next to its rivals."""

import json
import re
from collections import defaultdict
from pathlib import Path
from statistics import mean

ROOT = Path(__file__).resolve().parents[2]
ROWS = ROOT / 'docs' / 'device'
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
    'finetuned': "Stages 3 + 4 + 3, the teacher's head, everything learns from labels alone for 10 (`weight=0`)",
    'finetuned-lr0.01': 'The same, a fifth of the rate in the last phase',
    'finetuned-15-5': 'The same, stages 5 + 5 + 5, everything for 5',
    'together-finetuned': "Stages together for 10, the teacher's head, everything learns for 10",
    'featurekd': '**FeatureKD**, all stages, weight 1',
    'stages-featurekd': '**SSKD, the default**: the same, and features mimicked beside the labels, here with weight 1',
}
BCCD_TEACHER = 41.8  # trained on a CPU, not by the grid
BCCD = {
    'alone24': 'Student alone, 24 epochs, its best length',
    'alone': 'Student alone',
    'kd': 'KD',
    'mhkd': 'MHKD, heads 64 wide',
    'paper': "SSKD as the paper has it: five stages in half of the epochs, frozen, the student's own head",
    'stages-all': 'Stages 2 + 2 + 2 + 3 + 3, everything learns from labels alone for 24 (`weight=0`)',
    'together-all': 'Stages together for 9, everything from labels alone for 27',
    'together-all-var': 'The same, loss in units of the variance',
    'together-featurekd6': 'Stages together for 9, then features mimicked beside the labels with weight 6 for 27',
    'together-featurekd6-var': 'The same, stages in units of the variance',
    'featurekd2': '**FeatureKD**, the pyramid, weight 2',
    'featurekd6': 'FeatureKD, the pyramid, weight 6',
    'featurekd20': 'FeatureKD, the pyramid, weight 20',
    'featurekd6-all-stages': 'FeatureKD, every stage and the pyramid, weight 6',
}
BCCD_CPU = {
    'alone24': 'Student alone, 24 epochs',
    'alone': 'Student alone',
    'kd': 'KD',
    'mhkd': 'MHKD, heads 64 wide',
    'sskd': '**SSKD, the default**: half for the stages, half for everything, the pyramid mimicked beside the labels',
    'featurekd2': '**FeatureKD, the default**',
    'random': 'Control: the head learns on a random frozen backbone and neck, 18 epochs',
    'teachers': "Control: the head learns on the teacher's own frozen backbone and neck, 18 epochs",
}
SHORT_CPU = {
    'kd': 'KD',
    'sskd': '**SSKD, the default**',
    'featurekd': '**FeatureKD, the default**',
}
DIGITS = {
    'alone': 'Student alone',
    'kd': 'KD',
    'mhkd': 'MHKD',
    'featurekd': 'FeatureKD',
    'paper': "SSKD as the paper has it: frozen, the student's own head learns",
    'sskd': '**SSKD, the default**: everything learns from the labels, features mimicked beside them',
    'six': 'The same with weight 6',
    'mimic': 'The same with `mmkd.FeatureMimicLoss`, weight 1',
    'labels': 'Everything learns from the labels alone (`weight=0`)',
    'slow': 'The same at a tenth of the rate',
    'nolabels': "**No labels**: SSKD's stages only, then the teacher's head as it is",
    'random': 'Control: a head learns on a random frozen backbone, 400 iterations',
    'teachers': "Control: a head learns on the teacher's own frozen backbone, 400 iterations",
}
DIGITS_TEXT = """## Digits with few labels: a ResNet-18 teaches one half as wide

The demo's trainings: 1,437 training images, of which the first {labels} of each class (the same for all seeds) have
labels, and 360 test images, so 0.3 points are one image; 800 iterations, SSKD's stages in the first half. Top-1 in per
cent at the end. One teacher, trained with all labels for 10 epochs (seed 0): {teacher:.1f}, {lead:.1f} ahead of the
student alone. Where a row says nothing of labels, images without them are learned from as well. From
`docs/device/digits_cpu.jsonl`, whose lines say with which options: {device},
on {date}, {versions};
commits {commits}. `tools/device/grid.py --jobs tools/device/jobs/digits.py --at-once 1` trains
all of it anew. Seconds are those of the processor, start and validation included.

"""
TEXT = """# What makes SSKD pay

Written by `tools/device/levers_page.py` from the lines in `docs/device`. But for the AP of BCCD's teacher, which its
own training on a CPU told, no number is entered by hand. Misses are printed like hits.

The trainings on CIFAR-100 and BCCD are in `levers_h100.jsonl`. They ran side by side on one {device}, on {date}, by
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
    'bccdcpu': (
        BCCD_CPU,
        """### The same without options, on a CPU

The config that a user writes (`configs/sskd/sskd_gfl_mobilenet-v2_r18-w8_bccd.py` and its like), 36 epochs where not
said otherwise. From `docs/device/bccd_cpu.jsonl`: {device}, {versions}, commits {commits}.
The H100 rows above are of another torch, so compare within a table. The teacher is {lead:.1f} ahead of the student
alone with 24 epochs. MHKD's heads are mmdet's FCOS heads with one convolution. Seconds are those of the processor; the
machine did other work as well.

""",
        100.0,
    ),
}
SHORT_TEXT = """### CIFAR-100 short without options, on a CPU

The configs that a user writes (`configs/sskd/sskd_resnet56_resnet20_cifar100.py` and its like), taught by the teacher
above. From `docs/device/short_cpu.jsonl`: {device}, {versions}, commits {commits}; made by
`tools/device/jobs/cpu.py`. The student alone has {alone:.1f} on a CPU, two seeds; KD by another teacher, of 67.3, has
65.6 ([the results](results.md), of an earlier commit).

"""
SHORT_ALONE = 60.27  # of docs/results.md, which is of the same data and torch; it was not trained again
TRIES_TEXT = """## Rates and stages that overlap

The adapters have no rate: they are solved for, not learned. What another rate (`stages.overrides`) gives the stages,
and what each stage gains that is learned with the one before once more; one seed each. From
`docs/device/tries_cpu.jsonl`: {device}, {versions}, commits {commits}. R2 is that at a stage's end.

"""
TRIES = {  # prefix of the jobs: title, the arena of the student alone, the row to compare with, factor
    'trynl': ('The digits without a label', 'digits', 'digits_nolabels_s0', 1.0),
    'trybccd': ('Blood cells, 36 epochs, the default', 'bccdcpu', 'bccdcpu_sskd_s0', 100.0),
}
TRIED = {
    'default': 'As the config has it',
    'rate3': 'Three times the rate',
    'overlap': 'Overlapping stages: 1, 1 + 2, 2 + 3, 3 + 4, 200 iterations each (by hand: the schedule cannot)',
}


def groups(rows: list[dict], arena: str) -> dict[str, list[dict]]:
    """The rows of an arena by name, without seeds."""
    found = defaultdict(list)
    for row in rows:
        if row['name'].startswith(f'{arena}_'):
            found[row['name'].removeprefix(f'{arena}_').rpartition('_s')[0]].append(row)
    return found


def table(found: dict[str, list[dict]], titles: dict[str, str], factor: float, alone: float) -> list[str]:
    """A line for each name."""
    lines = ['| | Seeds | Last epoch | Against alone | R2 of the stages | Seconds |', '|---|---|---|---|---|---|']
    for name, title in titles.items():
        rows = found.get(name, [])
        done = [row for row in rows if row['state'] == 'finished']
        if not done:
            lines.append(f'| {title} | {_listed(rows)} | {"cut" if rows else "not run"} | | | |')
            continue
        scores = [factor * row['last'] for row in done]
        spread = f' ({min(scores):.1f} to {max(scores):.1f})' if len(scores) > 1 else ''
        costs = [cost for row in done if (cost := row.get('core_seconds', row.get('seconds'))) is not None]
        seconds = f'{mean(costs):.0f}' if costs else 'not measured'
        lines.append(
            f'| {title} | {_listed(done)} | {mean(scores):.1f}{spread} | {round(mean(scores) - alone, 1) + 0.0:+.1f} | '
            f'{_explained(done[0])} | {seconds} |'
        )
    return lines


def _listed(rows: list[dict]) -> str:
    return ', '.join(str(seed) for seed in sorted(row['seed'] for row in rows))


def _explained(row: dict) -> str:
    said = ', '.join(row.get('measured', {}).values())
    parts = [part.split()[-1] for part in said.split(', ') if part.startswith('r2_')]
    return ' '.join(f'{float(part):.2f}' for part in parts)


def digits_part(rows: list[dict]) -> str:
    """The digits' tables, one for each number of labels."""
    teacher = next(row['last'] for row in rows if row['name'].startswith('digits_teacher'))
    part = ''
    for labels in 5, 2, 20, 'all':
        pick = re.compile(f'(digits_[a-z]+){labels}(_s.*)')
        chosen = [{**row, 'name': pick.sub(r'\1\2', row['name'])} for row in rows if pick.fullmatch(row['name'])]
        found = groups(chosen, 'digits')
        if labels == 5:
            found.update({name: group for name, group in groups(rows, 'digits').items() if name == 'nolabels'})
        if 'alone' not in found:
            continue
        alone = mean(row['last'] for row in found['alone'])
        if labels == 5:
            part += DIGITS_TEXT.format(
                **{**shared(rows), 'labels': labels, 'teacher': teacher, 'lead': teacher - alone}
            )
        part += 'All labels:\n\n' if labels == 'all' else f'{labels} labels a class:\n\n'
        titles = DIGITS if labels == 5 else {name: title for name, title in DIGITS.items() if name in found}
        part += '\n'.join(table(found, titles, 1.0, alone)) + '\n\n'
    return part


def read(name: str) -> list[dict]:
    """The rows of a file; none if it is not there."""
    path = ROWS / f'{name}.jsonl'
    return [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []


def shared(rows: list[dict]) -> dict[str, str]:
    """What the text says of rows that were made alike."""
    commits = ', '.join(sorted({row['commit'] for row in rows}))
    return dict(commits=commits, **{key: rows[0][key] for key in ('device', 'versions', 'commit', 'date')})


def short_part(rows: list[dict]) -> str:
    """CIFAR-100 short on a CPU."""
    if not rows:
        return ''
    lines = table(groups(rows, 'shortcpu'), SHORT_CPU, 1.0, SHORT_ALONE)
    return SHORT_TEXT.format(**shared(rows), alone=SHORT_ALONE) + '\n'.join(lines) + '\n\n'


def tries_part(tries: list[dict], others: list[dict]) -> str:
    """Rates and lengths of the stages."""
    part = TRIES_TEXT.format(**shared(tries)) if tries else ''
    alone = {}
    for arena, name, factor in ('digits', 'digits_alone5_', 1.0), ('bccdcpu', 'bccdcpu_alone24_', 100.0):
        alone[arena] = mean(factor * row['last'] for row in others if row['name'].startswith(name))
    for prefix, (title, arena, default, factor) in TRIES.items():
        found = groups(tries, prefix)
        if found:
            found['default'] = [row for row in others if row['name'] == default]
            named = {name: title for name, title in TRIED.items() if found.get(name)}
            part += f'{title}:\n\n' + '\n'.join(table(found, named, factor, alone[arena])) + '\n\n'
    return part


def main() -> None:
    levers, bccd, digits, short = (read(name) for name in ('levers_h100', 'bccd_cpu', 'digits_cpu', 'short_cpu'))
    page = TEXT.format(**levers[0])
    for arena, (titles, text, factor) in ARENAS.items():
        rows = bccd if arena == 'bccdcpu' else levers
        found = groups(rows, arena)
        if unnamed := found.keys() - titles.keys():
            raise SystemExit(f'error: {PAGE} has no line for {", ".join(sorted(unnamed))}')
        alone = found['alone24' if 'alone24' in found else 'alone']
        teacher = found['teacher'][0]['last'] if 'teacher' in found else BCCD_TEACHER
        lead = teacher - mean(factor * row['last'] for row in alone)
        lines = table(found, titles, factor, teacher - lead)
        page += text.format(**{**shared(rows), 'lead': lead, 'teacher': teacher}) + '\n'.join(lines) + '\n\n'
        page += short_part(short) if arena == 'short' else ''
    page += digits_part(digits) + tries_part(read('tries_cpu'), [*digits, *bccd, *short])
    PAGE.write_text(page.rstrip() + '\n')


if __name__ == '__main__':
    main()
