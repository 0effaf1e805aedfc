"""A third task in one file: labels of pixels, with networks and samples that mmkd does not know."""

from collections.abc import Sequence
from itertools import pairwise
from types import SimpleNamespace
from typing import ClassVar

import pytest
import torch
from mmengine.config import Config
from mmengine.evaluator import BaseMetric
from mmengine.model import BaseModel
from mmengine.registry import METRICS
from mmengine.runner import Runner
from mmengine.structures import BaseDataElement, PixelData
from torch import nn
from torch.nn import functional as F
from torch.utils.data import Dataset

from mmkd.errors import UserError
from mmkd.features.capture import ModuleOutput, feature_of, recording
from mmkd.registry import DATASETS, MODELS
from mmkd.tasks import Outcome, Task, kind_of, known_tasks, register_task, task_of

CLASSES = 3
SCORES = ModuleOutput('decode_head')


class Segmenter(BaseModel):
    """A network with three stages and a head that scores every pixel; its parts have mmseg's names."""

    def __init__(self, width: int, classes: int = CLASSES, data_preprocessor: dict | None = None):
        super().__init__(data_preprocessor=dict(type='BaseDataPreprocessor'))
        channels = [3, width, 2 * width, 3 * width]
        self.backbone = nn.Sequential(*(self.block(*pair) for pair in pairwise(channels)))
        self.decode_head = nn.Conv2d(channels[-1], classes, 1)
        self.decode_head.num_classes = classes

    @staticmethod
    def block(before: int, after: int) -> nn.Module:
        return nn.Sequential(nn.Conv2d(before, after, 3, 2, 1, bias=False), nn.BatchNorm2d(after), nn.ReLU())

    def extract_feat(self, inputs):
        return self.backbone(inputs)

    def loss(self, inputs, data_samples):
        return dict(loss_seg=pixel_loss(self.decode_head(self.extract_feat(inputs)), data_samples))

    def forward(self, inputs, data_samples=None, mode='tensor'):
        if mode == 'loss':
            return self.loss(inputs, data_samples)
        scores = self.decode_head(self.extract_feat(inputs))
        return scores if mode == 'tensor' else list(scores.argmax(1))


def labels_of(data_samples, size):
    """The labels at the resolution of the scores."""
    labels = torch.stack([sample.gt_sem_seg.data for sample in data_samples]).float()
    return F.interpolate(labels, size, mode='nearest')[:, 0].long()


def pixel_loss(scores, data_samples):
    return F.cross_entropy(scores, labels_of(data_samples, scores.shape[2:]))


class PixelHead(nn.Module):
    def __init__(self, width, classes):
        super().__init__()
        self.conv = nn.Conv2d(width, classes, 1)

    def forward(self, feature):
        return self.conv(feature[-1])


class DenseLabels(Task):
    """Everything that mmkd has to know about the task."""

    parts = ('decode_head',)
    gamma, alpha, ce_share = 0.5, 0.7, 0.3
    heads: ClassVar = dict(type='unused')
    soft_loss: ClassVar = dict(type='mmkd.SoftTargetLoss', tau=2.0)
    has_accuracy = True

    @classmethod
    def check_sample(cls, student, sample):
        if 'gt_sem_seg' not in sample:
            raise UserError('train_dataloader.dataset: its images come without maps of labels.')

    def check(self, inputs, teacher_inputs, own_scores):
        own, theirs = self.num_classes(self.student), self.num_classes(self.teacher.network)
        if own != theirs:
            raise UserError('model.teacher: it knows other classes.')
        return own

    def places(self, plan):
        return [stage.name for stage in plan.stages][:-1]

    def build_head(self, cfg, stage, num_classes):
        return PixelHead(stage.shapes[-1][0], num_classes)

    def student_outcome(self, inputs, data_samples, weight, stages: Sequence = ()):
        with recording(self.student, [*stages, SCORES]) as outputs:
            losses = self.student.loss(inputs, data_samples) if weight else {}
            if not weight:
                self.student(inputs)
        losses = {name: weight * loss for name, loss in losses.items()}
        features = [feature_of(outputs[stage.end], len(inputs)) for stage in stages]
        return Outcome(losses, self.pixels(outputs[SCORES.end]), features)

    @torch.no_grad()
    def teacher_outcome(self, inputs, student=None, stages: Sequence = ()):
        with recording(self.teacher.network, stages) as outputs:
            scores = self.teacher.network(inputs)
        return Outcome({}, self.pixels(scores), [feature_of(outputs[stage.end], len(inputs)) for stage in stages])

    @staticmethod
    def pixels(scores):
        """One row per pixel."""
        return scores.movedim(1, -1).flatten(0, 2)

    def scores(self, head, output):
        return self.pixels(output)

    def own_loss(self, head, output, data_samples):
        return pixel_loss(output, data_samples)

    def accuracy(self, scores, data_samples):
        side = int((len(scores) // len(data_samples)) ** 0.5)
        return 100 * (scores.argmax(1) == labels_of(data_samples, (side, side)).flatten()).float().mean()


class Squares(Dataset):
    """Bright squares of classes 1 and 2 on a dark background."""

    metainfo: ClassVar = dict(classes=('ground', 'left', 'right'))

    def __init__(self, images: int, labelled: bool = True):
        self.images, self.labelled = images, labelled

    def __len__(self):
        return self.images

    def __getitem__(self, i):
        image, labels = torch.zeros(3, 32, 32), torch.zeros(1, 32, 32, dtype=torch.long)
        left = 16 * (i % 2)
        image[i % 2, 8:24, left : left + 12] = labels[:, 8:24, left : left + 12] = 1 + i % 2
        sample = BaseDataElement()
        if self.labelled:
            sample.gt_sem_seg = PixelData(data=labels)
        return dict(inputs=image, data_samples=sample)


class PixelAccuracy(BaseMetric):
    def process(self, data_batch, data_samples):
        labels = [sample.gt_sem_seg.data for sample in data_batch['data_samples']]
        coarse = (F.interpolate(label[None].float(), pred.shape)[0, 0] for label, pred in zip(labels, data_samples))
        self.results += [float((pred == label).float().mean()) for pred, label in zip(data_samples, coarse)]

    def compute_metrics(self, results):
        return dict(pixels=sum(results) / len(results))


@pytest.fixture
def dense_labels(monkeypatch):
    """Register the task and its network for the duration of a test."""
    monkeypatch.setattr(known_tasks, 'TASKS', [*known_tasks.TASKS])
    register_task(DenseLabels)
    made = [(MODELS, Segmenter), (DATASETS, Squares), (METRICS, PixelAccuracy)]
    for registry, module in made:
        registry.register_module(module=module)
    yield DenseLabels
    for registry, module in made:
        registry.module_dict.pop(module.__name__)


def runner_of(folder, method, labelled=True) -> Runner:
    def loader(images, shuffle):
        return dict(
            batch_size=4,
            dataset=dict(type='mmkd.Squares', images=images, labelled=labelled),
            sampler=dict(type='DefaultSampler', shuffle=shuffle),
            collate_fn=dict(type='default_collate'),
            num_workers=0,
        )

    teacher = dict(config=dict(model=dict(type='mmkd.Segmenter', width=6)), checkpoint=None)
    cfg = dict(
        model=dict(type=f'mmkd.{method}', student=dict(type='mmkd.Segmenter', width=4), teacher=teacher),
        work_dir=str(folder),
        train_dataloader=loader(12, True),
        train_cfg=dict(by_epoch=True, max_epochs=8),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.05, momentum=0.9)),
        val_dataloader=loader(6, False),
        val_cfg=dict(),
        val_evaluator=dict(type='PixelAccuracy'),
        default_hooks=dict(stages=dict(type='mmkd.StageScheduleHook')),
        default_scope='mmengine',
        randomness=dict(seed=0),
        experiment_name=f'{folder.parent.name}_{method}',
    )
    return Runner.from_cfg(Config(cfg))


@pytest.mark.parametrize('method', ['SSKD', 'KD', 'MHKD', 'FeatureKD'])
def test_every_method_trains_it(dense_labels, tmp_path, method):
    runner = runner_of(tmp_path / 'run', method)
    seen, step = [], runner.model.train_step
    runner.model.train_step = lambda data, optim_wrapper: seen.append(step(data, optim_wrapper)) or seen[-1]
    runner.train()
    names = {name for row in seen for name in row}
    wanted = {
        'SSKD': {'loss_mimic_0', 'loss_mimic_1', 'loss_mimic_backbone', 'loss_seg'},
        'KD': {'loss_seg', 'loss_soft'},
        'MHKD': {'loss_seg', 'loss_soft', 'loss_soft_0', 'loss_own_1', 'loss_teacher_0'},
        'FeatureKD': {'loss_seg', 'loss_mimic_0'},
    }
    assert wanted[method] <= names
    ends = [float(row['loss_seg']) for row in seen if 'loss_seg' in row]
    assert ends[-1] < ends[0]
    scalars = ''.join(path.read_text() for path in tmp_path.glob('run/*/vis_data/*.json'))
    assert ('val_student_heads/0' in scalars) == (method == 'MHKD')
    assert 'pixels' in scalars
    plain = Segmenter(4)
    plain.load_state_dict(torch.load(tmp_path / 'run' / 'epoch_8.pth', weights_only=False)['state_dict'], strict=True)


def test_samples_without_what_it_learns_from_are_refused(dense_labels, tmp_path):
    with pytest.raises(UserError, match='come without maps of labels'):
        runner_of(tmp_path / 'run', 'SSKD', labelled=False).train()


def test_labels_are_counted_by_its_heads_classes(dense_labels):
    assert kind_of(Segmenter(4)) is DenseLabels
    assert DenseLabels.num_classes(Segmenter(4, classes=7)) == 7
    assert kind_of(nn.ModuleDict(dict(neck=nn.Identity()))) is None


def test_without_its_file_scores_cannot_be_compared():
    with pytest.raises(UserError, match='a Segmenter scores neither images nor boxes'):
        task_of(Segmenter(4), SimpleNamespace(network=Segmenter(6)))
