"""CIFAR-100 in 30 epochs, for a GPU that is at hand for minutes; tools/device_run.sh trains it."""

from arena import Arena
from cifar import DATA, RESIDENT, length, maker, pair_table
from methods import NARROW

METHODS = 'kd', 'sskd', 'featurekd', 'mhkd'
PAIRS = 'resnet56_resnet20', 'wrn40-2_wrn16-2', 'resnet32x4_resnet8x4'

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
    tables=[pair_table(pair, METHODS, changes=NARROW) for pair in PAIRS],
    seeds=(0, 1, 2),
)
