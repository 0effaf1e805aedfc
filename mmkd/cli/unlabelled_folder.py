"""A folder of images without labels, as a loader in a classifier's config."""

from pathlib import Path

from mmengine.config import Config

from mmkd.errors import UserError
from mmkd.utils.signatures import bare_name

OPTIONS = {
    'sskd': ['alpha=0.3,'],
    'feature-kd': ['weight=2.0,', "terms=dict(soft=dict(loss=dict(type='mmkd.SoftTargetLoss'), places='scores')),"],
}
"""By method, lines of the model: with them the student learns classes from these images, too."""
BY_HAND = 'write unlabelled_dataloader into the config as docs/few_labels.md shows'


def check_folder(folder: str, name: str, student: Config) -> None:
    """Raise an error for a folder that is not there, or a student whose images a folder cannot hold.

    Args:
        folder: As the user names it.
        name: The student's config, as the user names it.
        student: That config.
    """
    if not folder or not Path(folder).is_dir():
        raise UserError(f'--unlabelled: there is no folder {folder!r}.')
    if not any(path.is_file() for path in Path(folder).rglob('*')):
        raise UserError(f'--unlabelled: {folder!r} holds no file.')
    if student.get('default_scope') != 'mmpretrain':
        raise UserError(f'--unlabelled: {name} is no classifier of mmpretrain; leave it out, and {BY_HAND}.')
    first = [step.get('type') for step in student.train_dataloader.dataset.get('pipeline', ())[:1]]
    if not first or bare_name(first[0]) != 'LoadImageFromFile':
        raise UserError(
            f'--unlabelled: the training images of {name} are not read from files (its dataset.pipeline does not begin '
            f'with LoadImageFromFile); leave it out, and {BY_HAND}.'
        )


def loader_text(folder: str, student: Config) -> list[str]:
    """The loader's lines in a config that inherits the student's."""
    loader = student.train_dataloader
    return [
        'unlabelled_dataloader = dict(',
        f'    batch_size={loader.batch_size},',
        f'    num_workers={loader.get("num_workers", 0)},',
        '    dataset=dict(',
        "        type='CustomDataset',",
        f'        data_root={folder!r},',
        '        with_label=False,',
        '        pipeline={{_base_.train_dataloader.dataset.pipeline}}))',
    ]
