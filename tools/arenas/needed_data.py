"""The commands that get data which an arena misses; docs/data.md and docs/faces.md have the same."""

from pathlib import Path
from typing import NamedTuple

from mmkd.errors import UserError

CONVERT = 'python tools/dataset_converters'
COCO = 'http://images.cocodataset.org'


class Step(NamedTuple):
    """A command, and what it makes."""

    makes: str
    command: str


def _weights(name: str, options: str = '') -> list[Step]:
    """ImageNet weights of a MobileNetV2."""
    file = 'mobilenet_v2-b0353104.pth'
    return [
        Step(f'data/{file}', f'curl -f --create-dirs -o data/{file} https://download.pytorch.org/models/{file}'),
        Step(name, f'python tools/model_converters/mobilenet_v2.py data/{file} {name}{options}'),
    ]


def _npz(name: str) -> Step:
    return Step(f'data/{name}.npz', f'{CONVERT}/download_npz.py {name}')


def _coco(archive: str, folder: str, makes: str) -> Step:
    get = f'curl -f --create-dirs -o data/{archive} {COCO}/{folder}/{archive}'
    return Step(makes, f'{get} && unzip -q data/{archive} -d data/coco')


WAYS = {  # by the file that is missing
    'data/cifar10.npz': [_npz('cifar10')],
    'data/cifar100.npz': [_npz('cifar100')],
    'data/olivetti/train.txt': [
        _npz('olivetti'),
        Step('data/olivetti', f'{CONVERT}/identities.py olivetti data/olivetti.npz data/olivetti'),
    ],
    'data/cifar100_identities/train.txt': [
        _npz('cifar100'),
        Step(
            'data/cifar100_identities',
            f'{CONVERT}/identities.py cifar100 data/cifar100.npz data/cifar100_identities',
        ),
    ],
    'data/bccd320/train.json': [
        Step('data/BCCD_Dataset', 'git clone https://github.com/Shenggan/BCCD_Dataset data/BCCD_Dataset'),
        Step('data/bccd320', f'{CONVERT}/bccd.py data/BCCD_Dataset/BCCD data/bccd320'),
    ],
    'data/coco_subset/annotations/person_train.json': [
        _coco('val2017.zip', 'zips', 'data/coco/val2017'),
        _coco('annotations_trainval2017.zip', 'annotations', 'data/coco/annotations/instances_val2017.json'),
        Step('data/coco_subset', f'{CONVERT}/coco_subset.py data/coco data/coco_subset'),
    ],
    'data/mobilenet-v2_imagenet.pth': _weights('data/mobilenet-v2_imagenet.pth'),
    'data/mobilenet-v2_mmpretrain.pth': _weights('data/mobilenet-v2_mmpretrain.pth', ' --for mmpretrain'),
}


def require(*paths: str) -> None:
    """Raise a UserError with the commands that are still to be run for the first file that is missing."""
    for path in paths:
        if not Path(path).is_file():
            steps = WAYS.get(path, [])  # none for the data of somebody's own arena
            todo = [step.command for step in steps[:-1] if not Path(step.makes).exists()]
            todo += [step.command for step in steps[-1:]]
            raise UserError(f'{path} does not exist' + (f'; get it with: {" && ".join(todo)}' if todo else '.'))
