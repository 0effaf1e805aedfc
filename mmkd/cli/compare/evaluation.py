"""Evaluates a candidate as its toolbox does, and measures what it costs."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import Tensor, nn

from mmkd.cli import data_checks, flags
from mmkd.cli.compare.candidates import Candidate
from mmkd.cli.compare.inference import count_flops, first_batch, peak_memory, time_images
from mmkd.cli.running import build_runner, explained
from mmkd.compat.cpu_nodes import prepare_cpu_node
from mmkd.start_checks.teacher_score import numbers
from mmkd.tasks import kind_of
from mmkd.teacher.checkpoint import Whose, load_checked


@dataclass(frozen=True)
class Predictions:
    """Of a classifier, in the order of the data.

    Args:
        scores: Probabilities (images, classes).
        labels: The true ones.
    """

    scores: Tensor
    labels: Tensor


@dataclass(frozen=True)
class Result:
    """What was found about a candidate.

    Args:
        metrics: Of its evaluator.
        images: How many were evaluated.
        classes: Their names in its data.
        num_classes: That its head tells apart, None if it does not classify.
        predictions: None for other networks than classifiers with one label an image.
        parameters: How many.
        flops: For one image, None if they cannot be counted.
        speed: Images a second.
        memory: Bytes.
    """

    metrics: dict[str, float]
    images: int
    classes: tuple[str, ...]
    num_classes: int | None
    predictions: Predictions | None
    parameters: int
    flops: float | None
    speed: float
    memory: int


class _Record(Hook):
    """Keeps what a classifier predicts."""

    def __init__(self) -> None:
        self.scores: list[Tensor] = []
        self.labels: list[Tensor] = []

    def after_test_iter(self, runner: Runner, batch_idx: int, data_batch=None, outputs: Sequence | None = None) -> None:
        for sample in outputs or ():
            label, scores = (getattr(sample, key, None) for key in ('gt_label', 'pred_score'))
            if isinstance(label, Tensor) and isinstance(scores, Tensor) and label.numel() == 1 and scores.ndim == 1:
                self.labels.append(label.reshape(()).cpu())
                self.scores.append(scores.cpu())

    def predictions(self, images: int) -> Predictions | None:
        """All of them, if each image has one label and one class is predicted."""
        if len(self.labels) != images:
            return None
        return Predictions(torch.stack(self.scores), torch.stack(self.labels))


def evaluate(candidate: Candidate, work_dir: str, device: str, batch_size: int) -> Result:
    """Test it as ``mmkd test`` does, then measure it.

    Args:
        candidate: The network.
        work_dir: For what mmengine writes.
        device: Where it runs.
        batch_size: Images at once, for time and memory.
    """
    cfg = _quiet_test(candidate)
    cfg.work_dir, cfg.experiment_name = work_dir, f'{Path(work_dir).name} {candidate.name}'
    prepare_cpu_node(cfg)
    with explained(cfg, candidate.cfg, 'TMPDIR', 'compare again'):
        runner = build_runner(cfg)
        model = runner.model.to(device)
        parts = [name for name, _ in model.named_children()]
        load_checked(model, candidate.checkpoint, parts, Whose('compare', 'network', candidate.config))
        data_checks.check_images(runner, 'test')
        record = _Record()
        runner.register_hook(record)
        metrics = numbers(runner.test())
    model.eval()
    loader = runner.test_dataloader
    images = len(loader.dataset)
    batch: Any = first_batch(loader, batch_size)
    classes = getattr(loader.dataset, 'metainfo', {}).get('classes') or ()
    return Result(
        metrics,
        images,
        tuple(map(str, classes)),
        _num_classes(model),
        record.predictions(images),
        sum(parameter.numel() for parameter in model.parameters()),
        count_flops(model, first_batch(loader, 1)),
        time_images(model, batch),
        peak_memory(model, batch),
    )


def _quiet_test(candidate: Candidate) -> Config:
    """A config that tests the plain network; of a distillation, the student."""
    cfg = copy.deepcopy(candidate.cfg)
    flags.test_the_student(cfg)
    if cfg.get('default_hooks'):
        cfg.default_hooks.pop('visualization', None)
    cfg.visualizer = None  # else a comparison would begin a run at W&B
    cfg.randomness = dict(seed=0)
    cfg.load_from, cfg.resume, cfg.compile, cfg.log_level = candidate.checkpoint, False, False, 'ERROR'
    return cfg


def _num_classes(model: nn.Module) -> int | None:
    task = kind_of(model)
    return task.num_classes(model) if task else None
