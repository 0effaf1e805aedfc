"""CIFAR-100 as everybody trains it to compare distillation, for a GPU."""

from arena import Arena, Table
from cifar import DATA, FEW, RESIDENT, few_labels_table, maker, pair_table, unlabelled
from methods import WITH_ALL_LABELS

COLUMNS = ('teacher', 'student alone', 'KD', 'FitNet', 'AT', 'RKD', 'CRD', 'DKD')
PAIRS = {  # the figures that the benchmark's authors have published
    'resnet56_resnet20': (72.34, 69.06, 70.66, 69.21, 70.55, 69.61, 71.16, 71.97),
    'wrn40-2_wrn16-2': (75.61, 73.26, 74.92, 73.58, 74.08, 73.35, 75.48, 76.23),
    'resnet32x4_resnet8x4': (79.42, 72.50, 73.33, 73.50, 73.44, 71.90, 75.51, 76.32),
}


def tables(pair: str, published: tuple[float, ...]) -> list[Table]:
    """Every method on a pair, with all labels and with a tenth of them."""
    known = ', '.join(f'{name} {figure:.2f}' for name, figure in zip(COLUMNS, published))
    labelled = pair_table(pair, WITH_ALL_LABELS, f" (published by the benchmark's authors: {known})")
    heading = f'{" teaches ".join(pair.split("_"))}, {FEW}'
    few = few_labels_table(pair, labelled.rows[0], unlabelled(32, DATA), f'{pair}_{{}}50', heading)
    return [labelled, few]


ARENA = Arena(
    title='CIFAR-100 as everybody trains it',
    text="""The configs as they are: 240 epochs, batches of 64, SGD with a momentum of 0.9 and a weight decay of
5e-4, a rate of 0.05 that is cut to a tenth at epochs 150, 180 and 210, random crop with a padding of 4, and flip.
The data are kept on the device (`mmkd.ResidentArrayDataset`). Top-1 in per cent at the end.""",
    options=RESIDENT,
    prepare=maker(DATA, 32),
    tables=[one for pair in PAIRS.items() for one in tables(*pair)],
    seeds=(0, 1, 2),
)
