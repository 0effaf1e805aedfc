"""CIFAR-100 short and BCCD on a CPU, by the configs that a user writes, and BCCD's two controls.

`OMP_NUM_THREADS=1 python tools/device/grid.py --jobs tools/device/jobs/cpu.py --at-once 1 --seconds 14400 --out DIR
--data short=FILE short_teacher=FILE short_teacher_config=FILE bccd_teacher=FILE`, as for levers.py; the teacher of
CIFAR-100 short is what the training of that name in levers.py left. The rows are in docs/device/bccd_cpu.jsonl and
short_cpu.jsonl, and tools/device/levers_page.py puts them into docs/levers.md.
"""

import runpy
from pathlib import Path

LEVERS = runpy.run_path(str(Path(__file__).with_name('levers.py')))
PAIR = 'resnet56_resnet20'
MHKD = {
    'model.type': 'mmkd.MHKD',
    'model.heads.type': 'mmdet.FCOSHead',
    'model.heads.feat_channels': 64,
    'model.heads.stacked_convs': 1,
    'model.heads.norm_on_bbox': True,
    'model.heads.center_sampling': True,
}


def short(name: str, config: str, seeds: list[int], **options: object) -> list[dict]:
    """Of CIFAR-100 short."""
    teacher = {'model.teacher.config': '{short_teacher_config}', 'model.teacher.checkpoint': '{short_teacher}'}
    return _named(LEVERS['short'](f'cpu_{name}', config, seeds, {**teacher, **options}))


def bccd(name: str, kind: str, seeds: list[int], epochs: int = 36, **options: object) -> list[dict]:
    """Of BCCD."""
    if kind == 'sskd':
        options = {'model.type': 'mmkd.SSKD', 'default_hooks.stages.score_teacher': False, **options}
    return _named(LEVERS['bccd'](f'cpu_{name}', kind, seeds, options, epochs=epochs))


def _named(jobs: list[dict]) -> list[dict]:
    return [{**job, 'name': job['name'].replace('_cpu_', 'cpu_', 1)} for job in jobs]


def controls(seeds: list[int]) -> list[dict]:
    """A head that learns for the last half of the epochs, on a backbone that is random, and on the teacher's own."""
    head = {
        'default_hooks.stages.stages': "['head']",
        'model.head_from_teacher': False,
        'train_cfg.val_interval': 18,
    }
    own = {f'model.student.{part}.init_cfg.checkpoint': '{bccd_teacher}' for part in ('backbone', 'neck')}
    random = bccd('random', 'sskd', seeds, epochs=18, **head)
    teachers = bccd('teachers', 'sskd', seeds, epochs=18, **head, **own)
    return [*random, *({**job, 'config': 'tools/device/jobs/bccd_teachers_own.py'} for job in teachers)]


JOBS = [
    *short('sskd', f'sskd/sskd_{PAIR}', [0]),
    *short('featurekd', f'sskd/sskd_{PAIR}', [0], **{'model.type': 'mmkd.FeatureKD'}),
    *bccd('mhkd', 'sskd', [0], **MHKD),
    *bccd('featurekd2', 'sskd', [1], **{'model.type': 'mmkd.FeatureKD'}),
    *short('kd', f'kd/kd_{PAIR}', [0]),
    *short('sskd', f'sskd/sskd_{PAIR}', [1]),
    *bccd('sskd', 'sskd', [2]),
    *bccd('kd', 'sskd', [2], **{'model.type': 'mmkd.KD'}),
    *bccd('alone', 'baselines', [2]),
    *bccd('alone24', 'baselines', [2], epochs=24),
    *controls([0]),
    *short('featurekd', f'sskd/sskd_{PAIR}', [1], **{'model.type': 'mmkd.FeatureKD'}),
    *short('kd', f'kd/kd_{PAIR}', [1]),
    *_named(LEVERS['short']('cpu_alone', 'baselines/resnet20', [0, 1], student={'model.head.num_classes': 20})),
]
