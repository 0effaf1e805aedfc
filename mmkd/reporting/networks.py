"""The networks of the runs, built from what the work dirs hold, and the images that they are measured on."""

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import torch
from mmengine.config import Config, ConfigDict
from mmengine.device import get_device
from mmengine.model import BaseModel
from mmengine.registry import DATASETS, DefaultScope
from mmengine.runner import Runner, load_checkpoint
from mmengine.structures import BaseDataElement
from mmengine.utils import import_modules_from_strings
from torch import nn
from torch.utils.data import DataLoader, Subset

from mmkd.checkpoints.resume import find_checkpoints
from mmkd.checkpoints.safe_load import guarded
from mmkd.errors import UserError
from mmkd.objectives.networks import Networks, build_student
from mmkd.reporting.groups import Group
from mmkd.reporting.run import Run
from mmkd.teacher.network import Teacher
from mmkd.utils.random_state import own_randomness


@dataclass
class Images:
    """Evenly spread images of a validation set."""

    loader: DataLoader
    indices: list[int]
    total: int
    metainfo: dict

    @property
    def classes(self) -> list[str]:
        """Their names, if they are known."""
        return list(map(str, self.metainfo.get('classes') or ()))


@dataclass
class Measured:
    """A network, and what it made of the images.

    Args:
        name: That of the run.
        network: In evaluation mode, on the device.
        method: Of the run.
        networks: Both networks of a distillation.
        pairs: Where its stages end, if its config says so.
        fresh: The student as it was before the training.
        teacher_scores: Whether the teacher has a score by the student's metric, which its log tells.
        results: The toolbox's samples with its predictions.
    """

    name: str
    network: BaseModel
    method: str = ''
    networks: Networks | None = None
    pairs: Sequence | None = None
    fresh: BaseModel | None = None
    teacher_scores: bool = False
    results: list = field(default_factory=list)

    def see(self, batch: dict) -> None:
        """Predict a batch as the data set gives it."""
        data = self.network.data_preprocessor(copy.deepcopy(batch), False)  # a data set may keep its samples
        self._keep(self.network(**data, mode='predict'))

    def _keep(self, samples: list) -> None:
        self.results += [sample.cpu() for sample in samples]


@dataclass
class MeasuredTeacher(Measured):
    """The teacher, which sees the student's images normalised its own way."""

    def see(self, batch: dict) -> None:
        """Predict a batch as the data set gives it."""
        networks = self.networks
        assert networks is not None
        data = networks.preprocessor(copy.deepcopy(batch), False)
        inputs = networks.teacher_batch(data['inputs'], data['data_samples'])
        self._keep(self.network(inputs, data['data_samples'], mode='predict'))


def teacher_of(networks: list[Measured]) -> list[Measured]:
    """The teacher of the distillations, if it tells the same classes apart."""
    both = next((one.networks for one in networks if one.networks and one.teacher_scores), None)
    if both is None:
        return []
    return [MeasuredTeacher('teacher', cast(BaseModel, both.teacher.network), networks=both)]


def config_of(run: Run) -> Config:
    """The run's config, as it was."""
    return Config(copy.deepcopy(run.settings))


@contextmanager
def scope_of(cfg: Config) -> Iterator[None]:
    """Build and load what a config names."""
    if cfg.get('custom_imports'):
        import_modules_from_strings(**cfg.custom_imports)
    with guarded(cfg), own_randomness(), DefaultScope.overwrite_default_scope(cfg.get('default_scope')):
        yield


def open_images(cfg: Config, count: int) -> Images:
    """So many images of the config's validation set, evenly spread over it."""
    if not cfg.get('val_dataloader'):
        raise UserError('the runs have no validation set')
    loader = ConfigDict(copy.deepcopy(cfg.val_dataloader))
    dataset = DATASETS.build(loader.dataset)
    total = len(dataset)
    count = min(count, total)
    indices = [index * total // count for index in range(count)]
    loader.update(
        dataset=Subset(dataset, indices),
        sampler=dict(type='DefaultSampler', shuffle=False),
        batch_size=min(loader.get('batch_size') or 1, 32),
        num_workers=0,
        persistent_workers=False,
    )
    loader.pop('batch_sampler', None)
    return Images(Runner.build_dataloader(loader, seed=0), indices, total, dict(dataset.metainfo))


def build(group: Group, cfg: Config) -> Measured:
    """The network that the first run of a group has learned so far."""
    run = group.runs[0]
    hook = run.settings.get('default_hooks', {}).get('checkpoint') or {}
    named = find_checkpoints(str(run.folder), hook.get('out_dir'), hook.get('filename_tmpl'))
    found = [path for path in named if Path(path).is_file()]  # last_checkpoint may name one that is gone
    if not found:
        raise UserError(f'{run.folder} holds no checkpoint')
    student = build_student(ConfigDict(run.student), cfg.get('data_preprocessor'))
    measured = Measured(group.name, student, run.method)
    if 'student' in cfg.model:
        teacher = cfg.model.teacher
        holder = Teacher(teacher['config'], teacher['checkpoint'], ('backbone', 'neck'))
        torch.manual_seed((run.settings.get('randomness') or {}).get('seed') or 0)
        fresh = build_student(ConfigDict(run.student), cfg.get('data_preprocessor'))
        fresh.init_weights()
        holder.turn(lambda tensor: tensor.to(get_device()))
        measured.networks = Networks(student, holder, nn.ModuleDict())
        measured.fresh = fresh.to(get_device()).eval()
        measured.pairs, measured.teacher_scores = cfg.model.get('pairs'), bool(run.log.teacher_score)
    load_checkpoint(student, found[0], map_location='cpu', strict=True, logger='silent')
    student.to(get_device()).eval()
    return measured


def predicts(sample: Any, *names: str) -> bool:
    """Whether a network's result is a toolbox's sample with all of these."""
    return isinstance(sample, BaseDataElement) and all(name in sample for name in names)
