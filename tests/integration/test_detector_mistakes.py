"""Users' mistakes with detectors stop with one sentence before the first iteration; unusual but correct cases run."""

import copy
import json

import pytest
import torch
from mmengine.registry import MODELS, init_default_scope

from mmkd.errors import UserError
from mmkd.utils.configs import load_config
from tests.distil_detectors import narrowed

pytestmark = pytest.mark.parametrize('kind', ['FasterRCNN'], indirect=True, scope='session')
PIPELINE = 'train_dataloader.dataset.pipeline'
ANNOTATIONS = 'train_dataloader.dataset.pipeline.1'


def told(runner) -> str:
    """The sentence with which a run stops before its first iteration."""
    with pytest.raises(UserError) as caught:
        runner.train()
    assert runner.iter == 0
    assert '\n' not in str(caught.value)
    return str(caught.value)


def untrained(config: str | dict) -> dict:
    """A teacher without a checkpoint."""
    return dict(teacher=dict(config=config, checkpoint=None))


def mask_rcnn() -> dict:
    """A student that needs masks."""
    model = load_config('mmdet::_base_/models/mask-rcnn_r50_fpn.py').model
    model.backbone.update(depth=18, frozen_stages=-1, norm_eval=False, init_cfg=None)
    model.roi_head.mask_roi_extractor.out_channels = model.roi_head.mask_head.in_channels = 16
    model.roi_head.bbox_head.num_classes = model.roi_head.mask_head.num_classes = 10
    return narrowed(model, 8)


# Ground truth


@pytest.mark.parametrize(
    ('loads', 'missing'),
    [
        (dict(type='RandomFlip', prob=0.5), 'bboxes and labels'),
        (dict(type='LoadAnnotations', with_bbox=False), 'bboxes'),
        (dict(type='LoadAnnotations', with_label=False), 'labels'),
    ],
)
def test_a_pipeline_that_loads_no_boxes_is_told_before_hours_of_mimicking(distil, tmp_path, loads, missing):
    assert told(distil(tmp_path, **{ANNOTATIONS: loads})) == (
        f'train_dataloader.dataset.pipeline: the student learns from the ground truth, and its images come without '
        f"{missing}; load them with dict(type='LoadAnnotations', with_bbox=True)."
    )


def test_without_the_head_no_ground_truth_is_needed(distil, tmp_path):
    flip = {ANNOTATIONS: dict(type='RandomFlip', prob=0.5), 'train_dataloader.dataset.filter_cfg': None}
    runner = distil(tmp_path, hook=dict(stages=['layer1', 'neck'], lengths=[3, 3]), **flip)
    runner.train()
    assert runner.epoch == 6


def test_masks_are_needed_where_the_student_learns_them(distil, tmp_path):
    boxes = dict(type='LoadAnnotations', with_bbox=True)
    sentence = told(distil(tmp_path, **{'model.student': mask_rcnn(), ANNOTATIONS: boxes}))
    assert "without masks; load them with dict(type='LoadAnnotations', with_bbox=True, with_mask=True)." in sentence


def test_a_pipeline_that_packs_nothing_is_told(distil, tmp_path):
    sentence = told(distil(tmp_path, **{PIPELINE: [dict(type='LoadImageFromFile')]}))
    assert sentence == (
        "train_dataloader.dataset.pipeline: its results have no 'inputs'; end it with your toolbox's packing, "
        "dict(type='PackDetInputs') or dict(type='PackInputs')."
    )


def test_images_without_a_box_train_on_in_every_stage(distil, few_digits, tmp_path):
    content = json.loads((few_digits / 'train.json').read_text())
    content['annotations'] = []
    (tmp_path / 'none.json').write_text(json.dumps(content))
    dataset = {'ann_file': str(tmp_path / 'none.json'), 'filter_cfg': dict(filter_empty_gt=False)}
    runner = distil(tmp_path / 'run', **{f'train_dataloader.dataset.{key}': value for key, value in dataset.items()})
    runner.train()
    assert runner.model.learns_head
    assert all(parameter.isfinite().all() for parameter in runner.model.student.parameters())


def test_classes_that_no_image_has_are_told(run_tool, config_of, tmp_path):
    classes = dict(classes=('zero', 'one'))  # the annotations have categories 0 and 1
    cfg = config_of(tmp_path / 'run', **{'train_dataloader.dataset.metainfo': classes})
    cfg.dump(tmp_path / 'config.py')
    sentence = run_tool('train.py', tmp_path / 'config.py', '--work-dir', tmp_path / 'run')
    assert sentence.startswith('error: train_dataloader.dataset: it holds no image, or filter_cfg leaves none; check')


# Teachers


def test_levels_mimic_those_of_the_nearest_stride(distil, tmp_path):
    yolox = dict(model=load_config('mmdet::yolox/yolox_tiny_8xb8-300e_coco.py').model.to_dict(), default_scope='mmdet')
    runner = distil(tmp_path, model=untrained(yolox))
    runner.train()
    shapes = [shape[1:] for shape in runner.model.networks.teacher_stages['neck'].shapes]
    assert shapes == [(8, 8), (4, 4), (2, 2)]
    assert [shape[1:] for shape in runner.model.plan.stages[-1].shapes] == [(16, 16), *shapes, (1, 1)]
    assert runner.model.extras['neck'].partners == (0, 0, 1, 2, 2)


def test_a_neck_without_a_partner_is_learned_with_the_head(distil, tmp_path):
    classifier = 'mmpretrain::resnet/resnet18_8xb32_in1k.py'
    runner = distil(tmp_path, model=untrained(classifier), hook=dict(stages=['layer4', 'head'], lengths=[1, 5]))
    runner.train()
    teachers = {name: stage.name for name, stage in runner.model.networks.teacher_stages.items()}
    assert teachers == {name: name for name in ('layer1', 'layer2', 'layer3', 'layer4')}
    assert {name for name in runner.model.plan.head.parameters if name.startswith('neck.')}


def test_the_students_checkpoint_is_no_teacher(distil, plain, teacher, tmp_path):
    init_default_scope('mmdet')
    path = str(tmp_path / 'student.pth')
    torch.save(MODELS.build(copy.deepcopy(plain.model)).state_dict(), path)
    with pytest.raises(UserError, match=r'student\.pth fits model\.student and not the teacher; name'):
        distil(tmp_path, model=dict(teacher=dict(teacher, checkpoint=path)))


def test_a_distilled_teacher_may_be_named_by_its_distillation(distil, config_of, plain, kind, tmp_path):
    init_default_scope('mmdet')
    path = str(tmp_path / 'distilled.pth')
    weights = MODELS.build(copy.deepcopy(plain.model)).state_dict()
    torch.save(weights, path)
    distillation = config_of(tmp_path / 'first')
    teacher = dict(model=distillation.model.to_dict(), default_scope='mmdet')
    network = distil(tmp_path, model=dict(teacher=dict(config=teacher, checkpoint=path))).model.teacher.network
    assert type(network).__name__ == kind
    assert {name: tuple(value.shape) for name, value in network.state_dict().items()} == {
        name: tuple(value.shape) for name, value in weights.items()
    }


def test_a_teacher_that_cannot_run_on_the_images_is_told(distil, tmp_path):
    yolox = dict(model=load_config('mmdet::yolox/yolox_tiny_8xb8-300e_coco.py').model.to_dict(), default_scope='mmdet')
    changes = {
        'train_dataloader.dataset.pipeline.2.scale': (70, 70),
        'model.student.data_preprocessor.pad_size_divisor': 1,
    }
    padded = copy.deepcopy(yolox)  # padded to multiples of 32
    yolox['model']['data_preprocessor']['pad_size_divisor'] = 1
    assert told(distil(tmp_path, model=untrained(yolox), **changes)).startswith(
        'model.teacher: YOLOX cannot run on the training images of 70x70 pixels (RuntimeError: Sizes of tensors'
    )
    runner = distil(tmp_path / 'padded', model=untrained(padded), **changes)
    runner.train()
    assert runner.epoch == 6


def test_features_of_a_detector_are_not_kept(distil, tmp_path):
    runner = distil(tmp_path / 'run', **{'default_hooks.cache': dict(type='mmkd.FeatureCacheHook', views=1)})
    assert 'FeatureCacheHook: only features of classifiers with one task can be cached' in told(runner)
