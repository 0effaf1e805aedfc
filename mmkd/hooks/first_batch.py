"""A batch to look at before training."""

from mmengine.runner import Runner
from torch import Tensor
from torch.utils.data import DataLoader

from mmkd.distillers.base import Distiller
from mmkd.errors import UserError


def first_batch(runner: Runner, distiller: Distiller) -> Tensor:
    """Inputs as the student gets them: two images made of the first sample by the training pipeline.

    The validation's pipeline is tried, too: a mistake in it would show only after an epoch.
    """
    if runner.val_loop is not None:
        _batch('val_dataloader', runner.val_loop.dataloader, distiller)
    return _batch('train_dataloader', runner.train_dataloader, distiller)


def _batch(key: str, loader: DataLoader, distiller: Distiller) -> Tensor:
    try:
        batch = loader.collate_fn([loader.dataset[0]] * 2)
        return distiller.data_preprocessor(batch, False)['inputs']
    except Exception as error:  # a pipeline may raise anything
        said = str(error).partition('\n')[0].rstrip('.')
        raise UserError(
            f'{key}.dataset: no batch can be made of its first sample ({type(error).__name__}: {said}); '
            'mend its pipeline, or the data_preprocessor.'
        ) from error
