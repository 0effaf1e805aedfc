"""The levers of SSKD one by one, on CIFAR-100 short and BCCD, next to the student alone, KD and MHKD.

`--data short=FILE bccd_teacher=FILE`: the images of the protocol `short`, and what gfl_mobilenet-v2_bccd.py trained.
The rows are in docs/device/levers_h100.jsonl, and tools/device/levers_page.py makes docs/levers.md of them.
"""

SHORT = {
    'train_cfg.max_epochs': 20,
    'param_scheduler.milestones': '[12,15,18]',
    'train_dataloader.dataset.pipeline.0.crop_size': 16,
    'train_dataloader.dataset.pipeline.0.padding': 2,
    'data_preprocessor.num_classes': 20,
    'default_hooks.logger.interval': 150,
    'default_hooks.checkpoint.interval': 100,
    **{
        f'{loader}.{key}': value
        for loader in ('train_dataloader', 'val_dataloader', 'test_dataloader')
        for key, value in {
            'dataset.type': 'mmkd.ResidentArrayDataset',
            'dataset.ann_file': '{short}',
            'num_workers': 0,
            'persistent_workers': False,
            'pin_memory': False,
        }.items()
    },
}
STUDENT = {'model.student.head.num_classes': 20}
STAGES = "['layer1','layer2','layer3']"
TOGETHER = "[['layer1','layer2','layer3']]"


def short(name, config, seeds, options=None, student=STUDENT, **more):
    base = dict(config=f'configs/{config}_cifar100.py', **more)
    return [
        dict(base, name=f'short_{name}_s{seed}', seed=seed, options={**SHORT, **student, **(options or {})})
        for seed in seeds
    ]


def sskd(name, seeds, stages, lengths, **options):
    keys = {'default_hooks.stages.stages': stages, 'default_hooks.stages.lengths': lengths}
    return short(
        name, 'sskd/sskd_resnet56_resnet20', seeds, {**LABELS_ALONE, **keys, **options}, teacher='short_teacher_s0'
    )


def feature_kd(name, seeds, options):
    return short(
        name,
        'sskd/sskd_resnet56_resnet20',
        seeds,
        {'model.type': 'mmkd.FeatureKD', **options},
        teacher='short_teacher_s0',
    )


VAR1 = {'model.mimic_loss.type': 'mmkd.FeatureMimicLoss', 'model.mimic_loss.scale': 'variance'}
VAR10 = {**VAR1, 'model.mimic_loss.loss_weight': 10.0}
FROZEN = {'model.head_from_teacher': False}
LABELS_ALONE = {'model.weight': 0}  # nothing mimicked beside them, as SSKD had it when the rows were made
TEACHERS = [
    *short(
        'teacher',
        'baselines/resnet56',
        [0],
        {'train_cfg.max_epochs': 40, 'param_scheduler.milestones': '[25,30,35]'},
        student={'model.head.num_classes': 20},
        keep=True,
    ),
]


def alone(seeds):
    return short('alone', 'baselines/resnet20', seeds, student={'model.head.num_classes': 20})


def bccd(name, kind, seeds, options=None, epochs=36, **more):
    if kind == 'sskd' and 'model.type' not in (options or {}):
        options = {**LABELS_ALONE, **(options or {})}
    config = 'gfl_r18-w8_bccd' if kind == 'baselines' else 'sskd_gfl_mobilenet-v2_r18-w8_bccd'
    teacher = {} if kind == 'baselines' else {'model.teacher.checkpoint': '{bccd_teacher}'}
    return [
        dict(
            name=f'bccd_{name}_s{seed}',
            config=f'configs/{kind}/{config}.py',
            seed=seed,
            metric='coco/bbox_mAP',
            options={
                'default_hooks.checkpoint.interval': 100,
                'train_cfg.max_epochs': epochs,
                'default_hooks.logger.interval': 37,
                'train_cfg.val_interval': 12,
                **teacher,
                **(options or {}),
            },
            **more,
        )
        for seed in seeds
    ]


def stages(phases, lengths):
    return {'default_hooks.stages.stages': phases, 'default_hooks.stages.lengths': lengths}


FKD = {'model.type': 'mmkd.FeatureKD'}
JOBS = [
    *TEACHERS,
    *alone([0, 1, 2]),
    *bccd('alone', 'baselines', [0, 1]),
    *bccd('alone24', 'baselines', [0, 1], epochs=24),
]
FIRST = [
    *short('kd', 'kd/kd_resnet56_resnet20', [0, 1, 2], teacher='short_teacher_s0'),
    *sskd('paper', [0, 1, 2], "['layer1','layer2','layer3','head']", '[3,4,3,10]', **FROZEN),
    *sskd('nolabels', [0, 1, 2], STAGES, '[6,7,7]'),
    *sskd('finetuned', [0, 1, 2], "['layer1','layer2','layer3','all']", '[3,4,3,10]'),
    *bccd('kd', 'sskd', [0, 1], {'model.type': 'mmkd.KD'}),
    *bccd('featurekd6', 'sskd', [0, 1], {**FKD, 'model.weight': 6.0}),
    *bccd('featurekd2', 'sskd', [0, 1], {**FKD, 'model.weight': 2.0}),
    *bccd('paper', 'sskd', [0, 1], FROZEN),
    *bccd('together-all', 'sskd', [0], stages("[['layer1','layer2','layer3','layer4','neck'],'all']", '[9,27]')),
    *bccd(
        'together-featurekd6',
        'sskd',
        [0],
        {**FKD, 'model.weight': 6.0, **stages("[['layer1','layer2','layer3','layer4','neck'],'all']", '[9,27]')},
    ),
    *sskd('nolabels-var1', [0, 1], STAGES, '[6,7,7]', **VAR1),
    *sskd('nolabels-var10', [0, 1], STAGES, '[6,7,7]', **VAR10),
    *bccd(
        'together-all-var',
        'sskd',
        [0, 1],
        {**VAR1, **stages("[['layer1','layer2','layer3','layer4','neck'],'all']", '[9,27]')},
    ),
    *bccd(
        'together-featurekd6-var',
        'sskd',
        [0, 1],
        {
            **FKD,
            **VAR1,
            'model.weight': 6.0,
            **stages("[['layer1','layer2','layer3','layer4','neck'],'all']", '[9,27]'),
        },
    ),
    *sskd('frozen-inherited', [0, 1], "['layer1','layer2','layer3','head']", '[5,6,5,4]'),
    *sskd('together-nolabels', [0, 1], TOGETHER, '[20]'),
    *sskd('together-finetuned', [0, 1], "[['layer1','layer2','layer3'],'all']", '[10,10]'),
    *feature_kd('featurekd', [0, 1], {'model.weight': 1.0}),
    *feature_kd(
        'stages-featurekd', [0, 1], {'model.weight': 1.0, **stages("['layer1','layer2','layer3','all']", '[3,4,3,10]')}
    ),
]
SECOND = [
    *short(
        'mhkd',
        'mhkd/mhkd_resnet56_resnet20',
        [0, 1],
        {'model.heads.type': 'mmkd.AuxiliaryHead', 'model.heads.width': 32},
        teacher='short_teacher_s0',
    ),
    *sskd('finetuned-15-5', [0, 1], "['layer1','layer2','layer3','all']", '[5,5,5,5]'),
    *sskd(
        'finetuned-lr0.01',
        [0, 1],
        "['layer1','layer2','layer3','all']",
        '[3,4,3,10]',
        **{'default_hooks.stages.overrides.all.lr': 0.01},
    ),
    *bccd('stages-all', 'sskd', [0, 1], stages("['layer1','layer2','layer3','layer4','neck','all']", '[2,2,2,3,3,24]')),
    *bccd('featurekd20', 'sskd', [0], {**FKD, 'model.weight': 20.0}),
    *bccd(
        'featurekd6-all-stages',
        'sskd',
        [0],
        {**FKD, 'model.weight': 6.0, 'model.places': "['layer1','layer2','layer3','layer4','neck']"},
    ),
    *bccd(
        'mhkd',
        'sskd',
        [0],
        {
            'model.type': 'mmkd.MHKD',
            'model.heads.type': 'mmdet.FCOSHead',
            'model.heads.feat_channels': 64,
            'model.heads.stacked_convs': 1,
            'model.heads.norm_on_bbox': True,
            'model.heads.center_sampling': True,
        },
    ),
]
JOBS += FIRST + SECOND
