"""Checks that phases with the head can be trained and validated."""

from mmengine.runner import Runner

from mmkd.distillers.base import Distiller
from mmkd.start_checks.classes import check_labels, check_validation_classes
from mmkd.start_checks.first_batch import check_ground_truth, check_head, check_prediction


def check_training_of_head(runner: Runner, distiller: Distiller, batch: dict) -> None:
    """Raise an error if the student's head cannot learn from the data sets, or its predictions fail.

    Args:
        runner: Has the data sets.
        distiller: Its speed options are applied.
        batch: A preprocessed batch.
    """
    check_ground_truth(distiller.student, batch.get('data_samples'))
    datasets = dict(train_dataloader=runner.train_dataloader.dataset)
    if runner.val_loop is not None:
        datasets['val_dataloader'] = runner.val_loop.dataloader.dataset
        check_validation_classes(datasets['train_dataloader'], datasets['val_dataloader'])
    check_labels(distiller.student, datasets)
    with distiller.speed_ups.tried():
        check_head(distiller.student, batch['inputs'], batch.get('data_samples'))
    check_prediction(runner, distiller)
