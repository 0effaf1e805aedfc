"""CIFAR-100 in 30 epochs, for a GPU that is at hand for minutes; tools/device_run.sh trains it."""

from arena import Arena, Row, Table
from cifar import DATA, RESIDENT, length, maker
from methods import rows

METHODS = 'kd', 'sskd', 'featurekd', 'mhkd'
NARROW = {'mhkd': {'model.heads.type': 'mmkd.AuxiliaryHead', 'model.heads.width': 32}}
SEEDS = (0, 1, 2)


def table(pair: str) -> Table:
    """A pair with the student alone and the methods."""
    taught, learning = pair.split('_')
    teacher = Row(f'{pair}_teacher', 'Teacher', f'baselines/{taught}_cifar100', seeds=(0,), teacher=None)
    alone = Row(f'{pair}_alone', 'Student alone', f'baselines/{learning}_cifar100', teacher=None)
    methods = rows(f'sskd/sskd_{pair}_cifar100', METHODS, None, NARROW, f'{pair}_{{}}', teacher=teacher.key)
    both = Row(
        f'{pair}_sskd-mhkd',
        'SSKD, then MHKD',
        f'mhkd/sskd-mhkd_{pair}_cifar100',
        NARROW['mhkd'],
        teacher=teacher.key,
    )
    return Table(f'{taught} teaches {learning}', [teacher, alone, *methods, both], alone.key)


ARENA = Arena(
    title='CIFAR-100 in 30 epochs',
    text="""As `cifar100_common`, but with 30 epochs for teachers and students, batches of 128 and a rate of 0.1; the
rate is cut at the same parts of the run, and MHKD's heads are 32 channels wide. Top-1 in per cent at the end.""",
    options={
        **RESIDENT,
        **length(30),
        'train_cfg.val_interval': 10,
        'train_dataloader.batch_size': 128,
        'optim_wrapper.optimizer.lr': 0.1,
        'default_hooks.checkpoint.interval': 10,
    },
    prepare=maker(DATA, 32),
    tables=[table(pair) for pair in ('resnet56_resnet20', 'wrn40-2_wrn16-2', 'resnet32x4_resnet8x4')],
    seeds=SEEDS,
)
