"""Tiny ImageNet as its archive holds it."""

from pathlib import Path

from mmengine.dataset import BaseDataset

from mmkd.errors import UserError
from mmkd.registry import DATASETS


@DATASETS.register_module()
class TinyImageNet(BaseDataset):
    """200 classes of 64x64 pixels, 500 training and 50 validation images each, in the archive's own folders.

    ``wnids.txt`` names the classes; their labels go by their sorted names, as torchvision's and mmpretrain's do of
    folders. ``train/NAME/images`` holds the training images of a class, ``val/val_annotations.txt`` the class of each
    image in ``val/images``. ``img_path`` goes to the pipeline, which begins with ``LoadImageFromFile``.

    Args:
        data_root (str): The archive's folder. Defaults to ``'data/tiny-imagenet-200'``.
        split (str): ``'train'`` or ``'val'``. Defaults to ``'train'``.
        **kwargs: As in :class:`mmengine.dataset.BaseDataset` (``pipeline``, ``indices``, ``metainfo``, ...).
    """

    HOW_TO_GET = 'unpack http://cs231n.stanford.edu/tiny-imagenet-200.zip into data/'

    def __init__(self, data_root: str = 'data/tiny-imagenet-200', split: str = 'train', **kwargs):
        if split not in ('train', 'val'):
            raise UserError(
                f"TinyImageNet: split must be 'train' or 'val', not {split!r}: the test images have no labels."
            )
        self.split = split
        super().__init__(data_root=data_root, **kwargs)

    def load_data_list(self) -> list[dict]:
        """Path and label of each image."""
        root = Path(self.data_root).expanduser()
        names = sorted(_lines(root / 'wnids.txt'))
        if not names:
            raise UserError(f'TinyImageNet: {root / "wnids.txt"} names no class; {REMEDY}.')
        self._metainfo.setdefault('classes', tuple(names))
        labels = {name: label for label, name in enumerate(names)}
        samples = _training(root, labels) if self.split == 'train' else _validation(root, labels)
        return [dict(img_path=str(path), gt_label=label) for path, label in samples]

    def get_cat_ids(self, idx: int) -> list[int]:
        """The sample's class, as mmengine's ClassBalancedDataset asks for it."""
        return [int(self.get_data_info(idx)['gt_label'])]


REMEDY = f"{TinyImageNet.HOW_TO_GET}, or set the data set's data_root"


def _training(root: Path, labels: dict[str, int]) -> list[tuple[Path, int]]:
    samples = []
    for name, label in labels.items():
        folder = root / 'train' / name / 'images'
        images = sorted(folder.glob('*.JPEG'))
        if not images:
            raise UserError(f'TinyImageNet: {folder} has no .JPEG; {REMEDY}.')
        samples += [(path, label) for path in images]
    return samples


def _validation(root: Path, labels: dict[str, int]) -> list[tuple[Path, int]]:
    listed = root / 'val' / 'val_annotations.txt'
    samples = []
    for number, line in enumerate(_lines(listed), 1):
        image, *rest = line.split('\t')  # behind the class a box, which is not used
        if not rest or rest[0] not in labels:
            raise UserError(f'TinyImageNet: {listed}, line {number} is no image with a class of wnids.txt: {line}')
        samples.append((root / 'val' / 'images' / image, labels[rest[0]]))
    return samples


def _lines(path: Path) -> list[str]:
    if not path.is_file():
        raise UserError(f'TinyImageNet: {path} does not exist; {REMEDY}.')
    return [line for line in path.read_text().splitlines() if line.strip()]
