"""Networks of configs, built and planned as a training does it, but without weights and images."""

import pytest
import torch

from mmkd.cli.default_hooks import add_schedule
from mmkd.distillers.base import Distiller
from mmkd.objectives.networks import TrainingSet
from mmkd.schedule.planning import PlanOptions
from mmkd.stages.phases import Schedule
from mmkd.utils.configs import load_config

IMAGES = 50_000
PLANNING = ('stages', 'fractions', 'lengths', 'overrides', 'unfreeze_last')


def build(cfg):
    """Build the config's model as the Runner does, but without loading the teacher's weights."""
    from mmengine.registry import MODELS, init_default_scope

    pytest.importorskip(cfg.default_scope)
    init_default_scope(cfg.default_scope)
    if 'teacher' in cfg.model:
        teacher = load_config(cfg.model.teacher.config)
        teacher.model.backbone.init_cfg = None
        fewer_people(teacher.model)
        cfg.model.teacher = dict(config=teacher.to_dict(), checkpoint=None)
        fewer_people(cfg.model.student)
    fewer_people(cfg.model)
    if 'data_preprocessor' in cfg:
        cfg.model.setdefault('data_preprocessor', cfg.data_preprocessor)
    return MODELS.build(cfg.model)


def fewer_people(model) -> None:
    """Initialising a head for 93,431 people takes seconds."""
    if model.get('type') == 'mmkd.FaceRecognizer':
        model.head.num_classes = min(model.head.num_classes, 1000)


def image_size(cfg) -> int:
    """The side of a training image: the one that the pipeline's last resizing step sets; small for detectors.

    Aligned faces are stored as they are used.
    """
    if cfg.default_scope == 'mmdet':
        return 128
    sizes = [step.get('crop_size', step.get('scale')) for step in cfg.train_dataloader.dataset.pipeline]
    return [112, *(size for size in sizes if isinstance(size, int))][-1]


def plan(cfg, model: Distiller) -> Schedule:
    """Find the stages, divide the budget, and build what the phases need."""
    add_schedule(cfg)
    model.networks.training_set = TrainingSet(IMAGES, ())
    model.prepare(torch.randn(2, 3, image_size(cfg), image_size(cfg)))
    epochs = cfg.train_cfg.get('max_epochs')
    iterations = cfg.train_cfg.get('max_iters') or epochs * IMAGES // cfg.train_dataloader.batch_size
    options = PlanOptions(**{name: cfg.default_hooks.stages.get(name) for name in PLANNING})
    schedule = options.plan(model, epochs, iterations)
    model.build_extras(schedule.phases)
    return schedule
