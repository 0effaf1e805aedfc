"""A run's unlabelled images, used beside those of train_dataloader."""

from collections.abc import Iterator, Sequence
from typing import Any

from mmengine.runner import Runner
from torch.utils.data import DataLoader

from mmkd.checkpoints.preemption import PreemptionHook
from mmkd.distillers.base import Distiller
from mmkd.errors import UserError
from mmkd.stages.phases import Phase, Schedule
from mmkd.start_checks.first_batch import batch_of
from mmkd.tasks import kind_of
from mmkd.tasks.classification import Classification
from mmkd.unlabelled.batches import Batch, joined
from mmkd.unlabelled.endless import endless
from mmkd.utils.random_state import own_randomness

KEY = 'unlabelled_dataloader'


class UnlabelledImages:
    """An endless stream of batches, split among the processes, that a resumed run continues.

    A batch is drawn in each iteration that learns from it and in no other.

    Args:
        loader: Says which images, in which order and how many at a time.
        distiller: Gets them.
    """

    def __init__(self, loader: DataLoader, distiller: Distiller):
        self.loader, self.distiller = loader, distiller
        self.sampler: Any = getattr(loader.batch_sampler, 'sampler', None)
        self.drawn = 0
        self.batches: Iterator | None = None

    def hand_over(self, phase: Phase) -> int:
        """Give the distiller the batch of the next iteration if it learns from one; return its number of images."""
        if not self.distiller.learns_from_images(phase):
            self.distiller.unlabelled = None
            return 0
        if self.batches is None:
            with own_randomness():
                self.batches = iter(endless(self.loader, self.drawn))
        batch = self.distiller.data_preprocessor(next(self.batches), False)
        self.drawn += 1
        self.distiller.unlabelled = Batch(batch['inputs'], batch.get('data_samples'))
        return len(batch['inputs'])

    def state(self) -> dict:
        """The state for resuming."""
        return dict(drawn=self.drawn, seed=getattr(self.sampler, 'seed', None))

    def resume(self, state: dict | None) -> None:
        """Continue from a checkpoint; checkpoints of runs without unlabelled images have no state."""
        if state is not None:
            self.drawn = state['drawn']
            if state['seed'] is not None:
                self.sampler.seed = state['seed']


def unlabelled_images(runner: Runner, distiller: Distiller, schedule: Schedule, first: dict) -> UnlabelledImages | None:
    """The stream of the images that the config names, or None.

    Args:
        runner: Its config is looked at.
        distiller: It knows its stages.
        schedule: What is learned when.
        first: A preprocessed batch of labelled images.
    """
    if runner.cfg.get(KEY) is None:
        _tell_of_features(runner, distiller, schedule)
        return None
    phases = [phase for phase in schedule.phases if distiller.learns_from_images(phase)]
    if not phases:
        raise UserError(
            f'{KEY}: nothing in this run learns from images without labels ({type(distiller).__name__}, {schedule}); '
            'leave the key out, or learn stages by mimicking (default_hooks.stages.stages) or soft terms with a weight.'
        )
    check_augments(distiller)
    with own_randomness():
        loader = _build(runner)
        batch = batch_of(KEY, loader, distiller)
        labelled, unlabelled = (Batch(part['inputs'], part.get('data_samples')) for part in (first, batch))
        joined(labelled, unlabelled)
    for hook in runner.hooks:
        if isinstance(hook, PreemptionHook):
            hook.protect(loader)
    _log(runner, loader, [schedule.name(schedule.phases.index(phase)) for phase in phases])
    learns_head = any(distiller.plan.head.name in phase for phase in schedule.phases)
    if learns_head and not distiller.compares_scores and kind_of(distiller.student) is Classification:
        runner.logger.warning(
            'Only the labelled images teach classes here. Where few have labels, soft targets gained 3 to 4 points '
            '(model.alpha=0.3 in mmkd.SSKD; docs/few_labels.md).'
        )
    return UnlabelledImages(loader, distiller)


def check_augments(distiller: Distiller) -> None:
    """Raise an error for batch augmentations that mix labels; mmdet's change only the size."""
    augments = getattr(getattr(distiller.data_preprocessor, 'batch_augments', None), 'augments', ())
    if augments:
        names = ', '.join(type(augment).__name__ for augment in augments)
        raise UserError(
            f'{KEY}: model.student.train_cfg.augments ({names}) mixes the labels of images, and these have none; leave '
            'one of the two out.'
        )


def _tell_of_features(runner: Runner, distiller: Distiller, schedule: Schedule) -> None:
    """Tell a classifier that learns class scores only, and from labelled images, what gained more there."""
    of_student = [phase for phase in schedule.phases if set(phase) <= set(schedule.stages)]
    mimics_nothing = of_student and all(distiller.plan.head.name in phase for phase in of_student)
    if distiller.learns_scores_only and mimics_nothing and kind_of(distiller.student) is Classification:
        runner.logger.info(
            'All images have labels here. Then mimicked features gained more than class scores for every classifier '
            'of docs/results.md; consider mmkd.SSKD or mmkd.FeatureKD (docs/choose.md).'
        )


def _build(runner: Runner) -> DataLoader:
    cfg = {'sampler': dict(type='InfiniteSampler', shuffle=True), **runner.cfg[KEY]}
    try:
        loader = runner.build_dataloader(cfg, runner.seed, bool(runner._randomness_cfg.get('diff_rank_seed')))
        images = len(loader.dataset)  # type: ignore[arg-type]
    except ValueError as error:
        if 'need at least one array to concatenate' not in str(error):  # mmengine's error for an empty data set
            raise
        images = 0
    if not images or not len(loader):
        raise UserError(
            f'{KEY}.dataset: it holds {images} images, from which no batch can be made; check its paths, filter_cfg '
            'and indices, the batch_size and drop_last.'
        )
    return loader


def _log(runner: Runner, loader: DataLoader, names: Sequence[str]) -> None:
    size = runner.cfg[KEY].get('batch_size', 1)
    runner.logger.info(
        f'Images without labels: {len(loader.dataset):,}, '  # type: ignore[arg-type]
        f'{size} of them in each iteration of {", ".join(names)} beside those of train_dataloader.'
    )
