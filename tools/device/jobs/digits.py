"""Few labels on the digits: the demo's trainings, the other methods, SSKD's levers and its two controls.

On a CPU: `OMP_NUM_THREADS=1 python tools/device/grid.py --jobs tools/device/jobs/digits.py --at-once 1 --seconds 7200
--out DIR`. The rows are in docs/device/digits_cpu.jsonl, and tools/device/levers_page.py puts them into docs/levers.md.
"""

PAIR = 'resnet18-w32_resnet18-w16_digits'
SSKD = f'sskd/sskd_{PAIR}-5-labels'


def labelled(labels: int | None) -> dict[str, object]:
    """So many labelled images of each class, all others without; of 800 iterations of 50 each as in the demo."""
    if labels is None:  # all
        return {'train_dataloader.dataset.per_class': None, 'unlabelled_dataloader': None}
    return {
        'train_dataloader.dataset.per_class': f'(0,{labels})',
        'train_dataloader.batch_size': min(50, 10 * labels),
        'unlabelled_dataloader.dataset.per_class': f'({labels},None)',
    }


def job(name: str, config: str, seed: int, labels: int | None = 5, options: dict | None = None, **more) -> dict:
    changes = {} if labels == 5 else labelled(labels)
    if config.startswith('baselines'):
        changes = {key: value for key, value in changes.items() if not key.startswith('unlabelled')}
    else:
        more = dict(teacher='digits_teacher_s0', **more)
    return dict(
        name=f'digits_{name}_s{seed}',
        config=f'configs/{config}.py',
        seed=seed,
        options={**changes, **(options or {})},
        **more,
    )


def methods(labels: int | None, seed: int, only: tuple[str, ...] = ()) -> list[dict]:
    """Every method with so many labels a class; None: all."""
    stages = 'default_hooks.stages'
    known = {
        'alone': ('baselines/resnet18-w16_digits-5-labels', {}),
        'sskd': (SSKD, {}),
        'kd': (f'kd/kd_{PAIR}-5-labels', {}),
        'labels': (SSKD, {'model.weight': 0}),
        'slow': (SSKD, {'model.weight': 0, f'{stages}.overrides.all.lr': 0.01}),
        'six': (SSKD, {'model.weight': 6}),
        'mimic': (SSKD, {'model.weight': 1, 'model.feature_loss.type': 'mmkd.FeatureMimicLoss'}),
        'paper': (SSKD, {f'{stages}.unfreeze_last': False, 'model.head_from_teacher': False}),
        'featurekd': (SSKD, {'model.type': 'mmkd.FeatureKD'}),
        'mhkd': (f'mhkd/mhkd_{PAIR}-5-labels', {}),
    }
    return [
        job(f'{name}{labels or "all"}', config, seed, labels, options)
        for name, (config, options) in known.items()
        if not only or name in only
    ]


TEACHER = job('teacher', 'baselines/resnet18-w32_digits', 0, keep=True)


def no_labels(seed: int) -> dict:
    return job('nolabels', f'sskd/sskd_{PAIR}-no-labels', seed)


def controls(seed: int) -> list[dict]:
    """A head that learns from 5 labels a class, on a backbone that is random, and on the teacher's own."""
    head = {
        'default_hooks.stages.stages': "['head']",
        'model.head_from_teacher': False,
        'train_dataloader.dataset.per_class': '(0,5)',
        'train_dataloader.batch_size': 50,
        'train_cfg.max_iters': 400,  # the last half of the 800
        'default_hooks.checkpoint.interval': 400,
    }
    wide = {
        'model.student.backbone.stem_channels': 32,
        'model.student.backbone.base_channels': 32,
        'model.student.head.in_channels': 256,
        'model.student.backbone.init_cfg.type': 'Pretrained',
        'model.student.backbone.init_cfg.prefix': 'backbone.',
        'model.student.backbone.init_cfg.checkpoint': '{teacher}',
    }
    config = f'sskd/sskd_{PAIR}-no-labels'
    return [job('random5', config, seed, options=head), job('teachers5', config, seed, options={**head, **wide})]


FEW = 'alone', 'sskd', 'kd'
JOBS = [
    TEACHER,
    *[*methods(5, 0), no_labels(0), *controls(0)],
    *(entry for seed in (1, 2) for entry in (*methods(5, seed), no_labels(seed))),
    *(entry for labels in (2, 20) for entry in methods(labels, 0, (*FEW, 'labels'))),
    *methods(None, 0, FEW),
    *(entry for labels in (2, 20, None) for entry in methods(labels, 1, FEW)),
]
