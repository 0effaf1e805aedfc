"""What the papers leave open: short trainings on the digits, 5 labels a class, that change one thing each."""

from arena import Row
from methods import STAGES

ITERATIONS = 200
BUDGET: dict[str, object] = {
    'train_cfg.max_iters': ITERATIONS,
    'train_cfg.val_interval': ITERATIONS,
    'default_hooks.checkpoint.interval': ITERATIONS,
}
TWICE = {'train_cfg.max_iters': 2 * ITERATIONS, 'train_cfg.val_interval': 2 * ITERATIONS}
PAIR = 'resnet18-w32_resnet18-w16_digits'
BLOCKS = ','.join(f"'layer{stage}.{block}'" for stage in (1, 2, 3, 4) for block in (0, 1))
LAYERS = "['layer1','layer2','layer3','layer4']"
FROZEN = {f'{STAGES}.unfreeze_last': False}
PAPER = {**FROZEN, 'model.head_from_teacher': False}


def pairs(ends: str) -> str:
    """Stages that end at such modules of both networks."""
    return '[{}]'.format(','.join(f'({end},{end})' for end in ends.split(',')))


def mimicry(**said: object) -> dict[str, object]:
    """Another distance in the stages."""
    return {f'model.mimic_loss.{name}': value for name, value in said.items()}


MIMIC = 'mmkd.FeatureMimicLoss'
ROWS: dict[str, list[tuple[str, str, dict[str, object]]]] = {  # config: key, title, and what differs
    f'sskd/sskd_{PAIR}-no-labels': [
        ('stages', "**Stages alone**, one after the other, 50 each; then the teacher's head as it is: no labels", {}),
        ('together', 'Stages together', {f'{STAGES}.stages': f'[{LAYERS}]'}),
        (
            'doubled',
            'Each stage twice as long as the one before: 13, 27, 53, 107',
            {f'{STAGES}.lengths': '[13,27,53,107]'},
        ),
        (
            'halved',
            'Each stage half as long as the one before: 107, 53, 27, 13',
            {f'{STAGES}.lengths': '[107,53,27,13]'},
        ),
        (
            'blocks',
            'Each of the 8 blocks is a stage; the head keeps its first weights, so only R2 counts',
            {'model.pairs': pairs(BLOCKS), f'{STAGES}.stages': f'[{BLOCKS}]'},
        ),
        (
            'last',
            'The last feature alone, the backbone is one stage',
            {'model.pairs': pairs("'layer4'"), f'{STAGES}.stages': "['layer4']"},
        ),
        (
            'last-learned',
            "The same through a 1x1 convolution and batch norm that learn (SimKD's), not the least-squares fit",
            {'model.type': 'mmkd.SimKD', **mimicry(type=MIMIC), f'{STAGES}.stages': "['layer4']"},
        ),
        (
            'drifting',
            'The batch norms of frozen stages go on collecting statistics',
            {'model.type': 'arenas.untaken.SSKDWithDriftingNorms'},
        ),
        ('variance', 'Loss in units of the variance', mimicry(type=MIMIC, scale='variance')),
        ('l1', 'Loss L1', mimicry(type=MIMIC, kind='l1')),
        ('cosine', 'Loss 1 - cosine', mimicry(type=MIMIC, kind='cosine')),
    ],
    f'kd/kd_{PAIR}-5-labels': [  # with SSKD's type
        ('sskd', '**SSKD**: half for the stages, half for everything', {}),
        ('quarter', 'A quarter for the stages', {f'{STAGES}.lengths': '[12,13,12,13,150]'}),
        ('three-quarters', 'Three quarters for the stages', {f'{STAGES}.lengths': '[37,38,37,38,50]'}),
        ('frozen', "The backbone frozen in the last phase, the teacher's head learns on", FROZEN),
        ('paper', "The backbone frozen in the last phase, the student's own head learns (the paper's form)", PAPER),
        (
            'paper-learned',
            "The same through FitNet's regressions that learn (1x1 convolution, batch norm, ReLU)",
            {**PAPER, **mimicry(type='mmkd.FitNetLoss')},
        ),
        (
            'paper-before-relu',
            "The paper's form, stages end before their last sum and ReLU",
            {**PAPER, 'model.pairs': pairs(','.join(f"'layer{stage}.1.bn2'" for stage in (1, 2, 3, 4)))},
        ),
    ],
    f'mhkd/mhkd_{PAIR}-5-labels': [
        (
            'mhkd',
            '**MHKD** on the labelled images alone: heads after stages 1, 2 and 3, 32 channels wide, beta 0.5',
            {},
        ),
        ('beta0', 'Without heads (KD)', {'model.beta': 0}),
        ('beta0.1', 'beta 0.1', {'model.beta': 0.1}),
        ('beta2', 'beta 2', {'model.beta': 2}),
        ('head1', 'One head, after stage 1', {'model.attach': "['layer1']"}),
        ('head3', 'One head, after stage 3', {'model.attach': "['layer3']"}),
        ('heads4', 'Four heads, the last one after stage 4', {'model.attach': LAYERS}),
        ('own-width', 'Heads as wide as the features, 32 channels at least', {'model.heads.width': None}),
        ('width256', 'Heads 256 channels wide', {'model.heads.width': 256}),
        ('fcs1', 'One fully connected layer in the heads', {'model.heads.fcs': 1}),
        (
            'heads-first',
            "The teacher's heads first, for 50 of the iterations",
            {f'{STAGES}.stages': "['teacher_heads','all']", f'{STAGES}.lengths': '[50,150]'},
        ),
        (
            'heads-before',
            "The teacher's heads before, for 200 iterations more, as if loaded",
            {f'{STAGES}.stages': "['teacher_heads','all']", f'{STAGES}.lengths': '[200,200]', **TWICE},
        ),
        ('final', "The teacher's final scores teach all heads", {'model.target': 'final'}),
    ],
}


def rows() -> list[Row]:
    """The student alone with that budget, and all of these."""
    alone = Row('short-alone', 'Student alone', 'baselines/resnet18-w16_digits-5-labels', BUDGET, teacher=None)
    changes = {'mhkd': {'unlabelled_dataloader': None}, 'kd': {'model.type': 'mmkd.SSKD'}}
    return [
        alone,
        *(
            Row(
                f'short-{key}',
                title,
                config,
                {**BUDGET, **changes.get(config.partition('/')[0], {}), **options},
                (0, 1),
            )
            for config, some in ROWS.items()
            for key, title, options in some
        ),
    ]
