"""The teacher's own score: it is right, and computing it changes nothing."""

import copy
from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.evaluator import BaseMetric, Evaluator
from mmengine.registry import MODELS, init_default_scope
from mmengine.runner import Runner
from torch import nn

from mmkd.checkpoints.hook import SafeCheckpointHook
from mmkd.errors import UserError
from mmkd.start_checks.teacher_score import check_save_best, not_ahead, score_teacher
from mmkd.utils.configs import load_config
from mmkd.utils.random_state import get_random_state
from tests.conftest import ROOT


class Keep(BaseMetric):
    """An evaluator that keeps its input."""

    default_prefix = 'kept'

    def process(self, data_batch, data_samples):
        self.results += data_samples

    def compute_metrics(self, results):
        self.kept = results
        return dict(images=len(results))


@pytest.fixture
def ready(distil):
    """A runner in the state of ``before_train``, and the messages that it logs."""

    def make(**kwargs):
        runner = distil(**kwargs)
        lines = []
        runner.logger = SimpleNamespace(info=lines.append)
        return runner, lines

    return make


@pytest.fixture
def other_teacher(teacher, plain, tmp_path):
    """Change the teacher's config, and give it weights of its own."""

    def make(change) -> dict:
        config = Config(copy.deepcopy(teacher['config']))
        change(config)
        init_default_scope('mmpretrain')
        torch.manual_seed(2)
        torch.save(MODELS.build(copy.deepcopy(config.model)).state_dict(), tmp_path / 'other.pth')
        return dict(config=config.to_dict(), checkpoint=str(tmp_path / 'other.pth'))

    return make


# The right score


def test_samples_tell_the_size_that_the_teacher_sees(ready, other_teacher, monkeypatch):
    """A data set like mmdet's, whose samples hold sizes; a DETR masks the area outside of an image."""
    runner, _ = ready(
        **{'model.teacher': other_teacher(lambda config: config.data_preprocessor.update(pad_size_divisor=20))}
    )
    sizes = []

    def add_size(preprocessor, args, data):
        for sample in data['data_samples']:
            sample.set_metainfo(dict(batch_input_shape=tuple(data['inputs'].shape[-2:])))

    def predict(network, inputs, samples):
        sizes.extend((tuple(inputs.shape[-2:]), sample.batch_input_shape) for sample in samples)
        return network(inputs, samples, mode='predict')

    runner.model.data_preprocessor.register_forward_hook(add_size)
    monkeypatch.setattr('mmkd.start_checks.teacher_score._predict', predict)
    score_teacher(runner, runner.model)
    assert set(sizes) == {((20, 20), (20, 20))}


def test_the_teacher_s_predictions_are_scored_as_in_its_own_test(ready, other_teacher):
    def preprocess(config):
        config.data_preprocessor.update(
            mean=[10.0, 20.0, 30.0], std=[20.0, 30.0, 40.0], to_rgb=True, pad_size_divisor=20, pad_value=3
        )

    runner, lines = ready(**{'model.teacher': other_teacher(preprocess)})
    keep = Keep()
    runner.val_loop.evaluator = Evaluator([keep, *runner.val_loop.evaluator.metrics])
    score = score_teacher(runner, runner.model)

    network = runner.model.teacher.network
    with torch.no_grad():
        expected = [sample for batch in runner.val_loop.dataloader for sample in network.test_step(batch)]
    assert len(keep.kept) == len(expected) == 40
    for sample, own in zip(keep.kept, expected):
        torch.testing.assert_close(sample['pred_score'], own.pred_score)
    right = sum(int(sample.pred_label == sample.gt_label) for sample in expected)
    assert score == {'kept/images': 40, 'accuracy/top1': pytest.approx(right / 40 * 100)}
    accuracy = f'{right / 40 * 100:.4g}'
    assert lines == [
        f"The teacher's own score on the student's validation images: kept/images 40, accuracy/top1 {accuracy}"
    ]
    assert not any(metric.results for metric in runner.val_loop.evaluator.metrics)


def test_a_detector_s_boxes_are_those_of_its_own_test(digits_coco, tmp_path, monkeypatch):
    pytest.importorskip('mmdet')
    cfg = load_config(str(ROOT / 'configs' / 'baselines' / 'retinanet_r18-w16_digits-coco.py'))
    cfg.val_dataloader.dataset.update(data_root=str(digits_coco), indices=4)
    cfg.val_dataloader.dataset.pipeline[1].scale = (96, 96)  # boxes must be scaled back
    cfg.val_evaluator.ann_file = str(digits_coco / 'val.json')
    cfg.val_dataloader.batch_size = 2
    cfg.model.data_preprocessor.pad_size_divisor = 64  # to 128 pixels
    init_default_scope('mmdet')
    network = MODELS.build(copy.deepcopy(cfg.model))
    network.init_weights()
    nn.init.constant_(network.bbox_head.retina_cls.bias, 1.0)  # otherwise nothing is found
    torch.save(network.state_dict(), tmp_path / 'teacher.pth')
    teacher = dict(
        config=dict(model=cfg.model.to_dict(), default_scope='mmdet'), checkpoint=str(tmp_path / 'teacher.pth')
    )
    teacher['config']['model']['data_preprocessor'].update(mean=[100.0] * 3, pad_value=3)
    distiller = MODELS.build(dict(type='mmkd.SSKD', student=cfg.model.to_dict(), teacher=teacher))

    keep = Keep()
    lines = []
    loader = Runner.build_dataloader(cfg.val_dataloader, seed=0)
    evaluator = Evaluator([keep, cfg.val_evaluator.to_dict()])
    evaluator.dataset_meta = loader.dataset.metainfo
    runner = SimpleNamespace(
        val_loop=SimpleNamespace(dataloader=loader, evaluator=evaluator), logger=SimpleNamespace(info=lines.append)
    )
    score = score_teacher(runner, distiller)
    with torch.no_grad():
        expected = [sample for batch in loader for sample in distiller.teacher.network.test_step(batch)]
    assert len(keep.kept) == 4
    for sample, own in zip(keep.kept, expected):
        assert len(own.pred_instances) > 0
        torch.testing.assert_close(sample['pred_instances']['bboxes'], own.pred_instances.bboxes, rtol=1e-4, atol=1e-3)
        torch.testing.assert_close(sample['pred_instances']['scores'], own.pred_instances.scores)
    assert 0 <= score['coco/bbox_mAP'] < 0.1
    assert ', coco/bbox_mAP 0' in lines[0]


# It changes nothing


DROPOUT = dict(type='StackedLinearClsHead', num_classes=10, in_channels=64, mid_channels=[16], dropout_rate=0.5)


@pytest.mark.parametrize('workers', [0, 1])
def test_training_is_bit_for_bit_what_it_would_be_without(distil, workers):
    def train(score):
        runner = distil(
            f'score_{score}',
            dict(stages=['head'], score_teacher=score),
            **{
                'model.student.head': DROPOUT,
                'train_cfg.max_epochs': 2,
                'val_dataloader.num_workers': workers,
                'val_dataloader.persistent_workers': workers > 0,
            },
        )
        runner.train()
        metrics = runner.message_hub.get_scalar('val/accuracy/top1').current()
        return {**runner.model.student.state_dict(), 'metrics': torch.tensor(metrics)}, get_random_state()

    (without, state), (scored, state_scored) = train(False), train(True)
    assert state_scored == state
    assert without.keys() == scored.keys()
    for name in without:
        assert torch.equal(without[name], scored[name]), name


def test_modes_and_weights_stay(ready):
    runner, _ = ready()
    networks = (runner.model, runner.model.teacher.network)
    modes = [[module.training for module in network.modules()] for network in networks]
    weights = [copy.deepcopy(network.state_dict()) for network in networks]
    score_teacher(runner, runner.model)
    for network, its_modes, its_weights in zip(networks, modes, weights):
        assert [module.training for module in network.modules()] == its_modes
        assert all(torch.equal(value, its_weights[name]) for name, value in network.state_dict().items())
        assert all(parameter.grad is None for parameter in network.parameters())


def test_samples_that_the_data_set_keeps_stay_as_they_are(ready):
    runner, _ = ready()
    dataset = [runner.val_loop.dataloader.dataset[i] for i in range(6)]
    before = copy.deepcopy(dataset)
    runner.val_loop.dataloader = torch.utils.data.DataLoader(dataset, 3, collate_fn=pseudo_collate)
    score_teacher(runner, runner.model)
    for sample, old in zip(dataset, before):
        assert torch.equal(sample['inputs'], old['inputs'])
        assert sample['data_samples'].to_dict().keys() == old['data_samples'].to_dict().keys()


# Not before the training


@pytest.mark.parametrize(
    ('teacher', 'student', 'said'),
    [
        ({'accuracy/top1': 90.0}, {'accuracy/top1': 91.5}, 'accuracy/top1 is 91.5, the teacher has 90.'),
        ({'coco/bbox_mAP': 0.3}, {'coco/bbox_mAP': 0.3}, 'coco/bbox_mAP is 0.3, the teacher has 0.3.'),
        ({'loss': 1.0, 'accuracy/top1': 90.0}, {'loss': 2.0, 'accuracy/top1': 95.0}, 'accuracy/top1 is 95'),
        ({'accuracy/top1': 90.0, 'accuracy/top5': 95.0}, {'accuracy/top1': 89.0, 'accuracy/top5': 99.0}, None),
        ({'accuracy/top1': 90.0}, {}, None),  # never validated
        ({}, {'accuracy/top1': 90.0}, None),  # not scored
        ({'loss': 1.0}, {'loss': 2.0}, None),
    ],
)
def test_a_teacher_that_is_not_ahead_is_warned_about(teacher, student, said):
    warning = not_ahead(teacher, student)
    assert said in warning if said else warning == ''
    assert ('take a better teacher' in warning) == bool(said)


def test_the_warning_comes_at_the_end_also_of_a_resumed_run(distil, tmp_path, monkeypatch):
    """The teacher is scored once, before the training; the student's last validation counts."""
    monkeypatch.setattr('mmkd.schedule.hook.score_teacher', lambda *_: {'accuracy/top1': 0.0, 'note': 'x'})
    distil('run').train()
    (log,) = (tmp_path / 'run').glob('*/*.log')
    assert log.read_text().count('The student ends as good as its teacher: accuracy/top1 is') == 1
    distil('resumed', resume=True, load_from=str(tmp_path / 'run' / 'epoch_6.pth')).train()
    (log,) = (tmp_path / 'resumed').glob('*/*.log')
    assert log.read_text().count('The student ends as good as its teacher: accuracy/top1 is') == 1


@pytest.mark.parametrize(
    ('wanted', 'missing'),
    [
        ('acc', 'acc'),
        (['accuracy/top1', 'accuracy/top7'], 'accuracy/top7'),
        (['accuracy/top1'], None),
        ('auto', None),
        (None, None),
    ],
)
def test_a_best_checkpoint_by_a_metric_that_is_not_there_is_refused(distil, wanted, missing):
    checkpoint = dict(type='CheckpointHook', interval=1, save_best=wanted, rule='greater')
    runner = distil(**{'default_hooks.checkpoint': checkpoint, 'train_cfg.max_epochs': 7})
    runner.train_loop.run_epoch = lambda: setattr(runner.train_loop, '_epoch', 7)  # only the checks
    if missing is None:
        runner.train()
        return
    with pytest.raises(
        UserError, match=rf'^default_hooks\.checkpoint\.save_best: .* no {missing}, only accuracy/top1; name one'
    ):
        runner.train()
    assert runner.epoch == 0


def test_a_teacher_without_a_score_tells_no_metric(distil):
    check_save_best([SafeCheckpointHook(save_best='acc')], None)


# No score


def test_no_score_without_validation(ready):
    runner, lines = ready(val_dataloader=None, val_cfg=None, val_evaluator=None)
    assert score_teacher(runner, runner.model) is None
    assert lines == ['The teacher is not scored: there is no validation set.']


def test_no_score_of_a_teacher_that_is_not_trained(ready):
    runner, lines = ready(**{'model.teacher.checkpoint': None})
    assert score_teacher(runner, runner.model) is None
    assert lines == ['The teacher is not scored: not all of its weights come from a checkpoint.']


def test_no_score_of_a_teacher_whose_head_is_not_trained(ready, teacher, tmp_path):
    state = torch.load(teacher['checkpoint'])['state_dict']
    del state['head.fc.bias']
    torch.save(state, tmp_path / 'headless.pth')
    runner, lines = ready(**{'model.teacher.checkpoint': str(tmp_path / 'headless.pth')})
    assert score_teacher(runner, runner.model) is None
    assert lines == ['The teacher is not scored: not all of its weights come from a checkpoint.']


def test_no_score_of_a_teacher_of_other_classes(ready, other_teacher):
    def widen(config):
        config.model.head.num_classes = 12

    runner, lines = ready(**{'model.teacher': other_teacher(widen)})
    assert score_teacher(runner, runner.model) is None
    assert lines == ['The teacher is not scored: it tells 12 classes apart, the student 10.']


@pytest.mark.parametrize('said', ['10', 'an unknown number'])
def test_no_score_of_a_teacher_that_does_not_say_its_classes(said, ready, other_teacher):
    def behead(config):
        config.model.head = None

    runner, lines = ready(**{'model.teacher': other_teacher(behead)})
    if said != '10':
        del runner.model.student.head.num_classes
    assert score_teacher(runner, runner.model) is None
    assert lines == [f'The teacher is not scored: it tells an unknown number of classes apart, the student {said}.']


def test_no_score_of_another_kind_of_network(ready):
    pytest.importorskip('mmdet')
    runner, lines = ready()
    runner.model.student = MODELS.build(
        dict(load_config('mmkd::baselines/retinanet_r18-w16_digits-coco.py').model, _scope_='mmdet')
    )
    assert score_teacher(runner, runner.model) is None
    assert lines == ["The teacher is not scored: its type is ImageClassifier, the student's RetinaNet."]


def test_no_score_of_a_detector_of_boxes_where_masks_are_wanted():
    pytest.importorskip('mmdet')
    init_default_scope('mmdet')
    student, teacher = (
        MODELS.build(load_config(f'mmdet::{name}_r50_fpn_1x_coco.py').model)
        for name in ('mask_rcnn/mask-rcnn', 'faster_rcnn/faster-rcnn')
    )
    distiller = SimpleNamespace(student=student, teacher=SimpleNamespace(network=teacher, whole=True))
    lines = []
    runner = SimpleNamespace(val_loop='some', logger=SimpleNamespace(info=lines.append))
    assert score_teacher(runner, distiller) is None
    assert lines == ['The teacher is not scored: it predicts no masks, and the student does.']
