"""How long and on what the grid trains: the common protocol, and a short one for CPUs."""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mmkd.errors import UserError

DATA = Path('data/cifar100.npz')
LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')


@dataclass(frozen=True)
class Protocol:
    """What all methods have in common."""

    name: str
    text: str  # for the report
    epochs: int
    teacher_epochs: int
    classes: int
    side: int  # of the images, in pixels
    data: Path
    head_width: int | None = None  # of MHKD's heads; None as in the configs
    pairs: tuple[str, ...] = ('resnet56_resnet20',)  # teacher_student
    seeds: tuple[int, ...] = (0, 1)

    def options(self, epochs: int) -> dict[str, object]:
        """The config keys that make a config for CIFAR-100 one of this protocol."""
        options: dict[str, object] = {
            'train_cfg.max_epochs': epochs,
            'param_scheduler.milestones': [round(epochs * part) for part in (150 / 240, 180 / 240, 210 / 240)],
            'train_dataloader.dataset.pipeline.0.crop_size': self.side,
            'train_dataloader.dataset.pipeline.0.padding': self.side // 8,
            'data_preprocessor.num_classes': self.classes,
        }
        for loader in LOADERS:
            options[f'{loader}.dataset.type'] = 'mmkd.ResidentArrayDataset'
            options[f'{loader}.dataset.ann_file'] = str(self.data)
            options[f'{loader}.num_workers'] = 0
            options[f'{loader}.persistent_workers'] = options[f'{loader}.pin_memory'] = False
        return options

    def prepare(self) -> None:
        """Make the protocol's own data file."""
        if not DATA.is_file():
            raise UserError(f'{DATA} does not exist; write CIFAR-100 to it as docs/data.md says.')
        if not self.data.is_file():
            with np.load(DATA, allow_pickle=False) as arrays:
                reduced = reduce(dict(arrays), self.classes, self.side)
            part = self.data.with_name(f'.{os.getpid()}.npz')
            np.savez(part, **reduced)
            os.replace(part, self.data)


def reduce(arrays: dict[str, np.ndarray], classes: int, side: int) -> dict[str, np.ndarray]:
    """The images of the first classes, each square of pixels averaged to one."""
    reduced = {}
    for split in ('train', 'test'):
        chosen = arrays[f'{split}_y'] < classes
        images = arrays[f'{split}_x'][chosen]
        n, height, width, channels = images.shape
        squares = images.reshape(n, side, height // side, side, width // side, channels)
        reduced[f'{split}_x'] = np.round(squares.mean((2, 4))).astype(np.uint8)
        reduced[f'{split}_y'] = arrays[f'{split}_y'][chosen]
    return reduced


PROTOCOLS = {
    protocol.name: protocol
    for protocol in (
        Protocol(
            'short',
            'The first 20 classes of CIFAR-100 (10,000 training and 2,000 test images), each square of 2x2 pixels '
            'averaged to one (16x16 pixels). 20 epochs for every student, whatever the method, and 40 for the teacher. '
            "Random crop with a padding of 2, and flip. MHKD's heads are 32 channels wide. The rest is as in the "
            'protocol `common`, with the rate cut at the same parts of the run. It says how the methods compare on a '
            'small task, not what they reach elsewhere.',
            epochs=20,
            teacher_epochs=40,
            classes=20,
            side=16,
            data=Path('data/cifar100_20-classes_16px.npz'),
            head_width=32,
        ),
        Protocol(
            'common',
            'The configs as they are, that is the usual protocol for distillation on CIFAR-100: 240 epochs, batches '
            'of 64, SGD with a momentum of 0.9 and a weight decay of 5e-4, a rate of 0.05 that is cut to a tenth at '
            'epochs 150, 180 and 210, random crop with a padding of 4, and flip. The data are kept on the device '
            '(`mmkd.ResidentArrayDataset`).',
            epochs=240,
            teacher_epochs=240,
            classes=100,
            side=32,
            data=DATA,
            pairs=('resnet56_resnet20', 'wrn40-2_wrn16-2', 'resnet32x4_resnet8x4', 'resnet34_resnet18'),
            seeds=(0, 1, 2),
        ),
    )
}
