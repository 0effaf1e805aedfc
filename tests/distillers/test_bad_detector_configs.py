"""Broken configs of detectors: whatever value a key gets, the run works or stops at the start with one sentence."""

import copy

import pytest
from hypothesis import Phase, given, settings

from mmkd.errors import UserError
from tests.distil_detectors import few_digits, plain_config, teacher_in  # noqa: F401  (a fixture)
from tests.distillers.test_bad_configs import ENDLESS, Enough, Tally, a_few_thousand, mutate, mutations, run

pytest.importorskip('mmdet')

ENDS = {'RetinaNet': ('layer2', 'layer3'), 'FasterRCNN': ('layer2', 'layer3'), 'YOLOX': ('stage2', 'stage3')}
HEADS = dict(type='mmdet.FCOSHead', feat_channels=32, stacked_convs=1, norm_on_bbox=True, center_sampling=True)


def methods(kind: str) -> dict[str, tuple[dict, dict]]:
    """The options of each method, and of its schedule."""
    first, second = ENDS[kind]
    return {
        'SSKD': (
            dict(mimic_loss=dict(type='mmkd.FeatureMimicLoss', kind='l1')),
            dict(stages=[first, second, 'neck', 'head'], lengths=[1, 1, 1, 3]),
        ),
        'MHKD': (
            dict(heads=HEADS, attach=[second], beta=0.5, soft_loss=dict(type='mmkd.ClassScoreLoss', tau=2.0)),
            dict(stages=['teacher_heads', 'all'], lengths=[1, 5]),
        ),
        'KD': (dict(gamma=2.0, alpha=0.5, soft_loss=dict(type='mmkd.ClassScoreLoss', by_confidence=True)), {}),
    }


@pytest.fixture(scope='module')
def valid(few_digits, tmp_path_factory) -> dict[str, dict]:  # noqa: F811
    """A config of each method for each kind of detector, as tools/train.py gives it to the Runner."""
    configs = {}
    for kind in ENDS:
        plain, teacher = plain_config(kind, few_digits), teacher_in(kind, tmp_path_factory.mktemp('teacher'))
        for method, (model, stages) in methods(kind).items():
            cfg = copy.deepcopy(plain)
            options = copy.deepcopy(dict(student=cfg.model, teacher=teacher, **model))
            cfg.model = dict(type=f'mmkd.{method}', **options)
            cfg.default_hooks.stages = dict(type='mmkd.StageScheduleHook', **stages)
            cfg.launcher = 'none'
            configs[f'{kind} by {method}'] = cfg.to_dict()
    return configs


def test_valid_configs_work(valid, tmp_path):
    for config in valid.values():
        with pytest.raises(Enough):
            run(config, tmp_path)


def test_a_mistake_is_told_in_one_sentence_or_does_no_harm(valid, tmp_path):
    tally = Tally(tmp_path / 'tally.txt')
    check = given(mutations(valid))(lambda mutation: tally.count(valid, tmp_path, mutation))
    settings(max_examples=60, derandomize=True, phases=[Phase.generate], **ENDLESS)(check)()
    assert not tally.failed, str(tally)


OWN, TEACHER = ('model', 'student'), ('model', 'teacher', 'config', 'model')
NO_PREDICTION = 'val_dataloader.dataset: the student cannot predict its first sample'
X = dict(type='x')


@pytest.mark.parametrize(
    ('of', 'place', 'value', 'said'),
    [
        ('RetinaNet by KD', ('train_dataloader', 'dataset', 'data_root'), 3, 'train_dataloader.dataset.data_root: it'),
        (
            'YOLOX by KD',
            (*TEACHER, 'data_preprocessor', 'pad_size_divisor'),
            None,
            'model.teacher.config: its data_pre',
        ),
        ('YOLOX by KD', (*TEACHER, 'data_preprocessor', 'pad_size_divisor'), 0, 'model.teacher.config: its data_prepr'),
        (
            'YOLOX by KD',
            (*TEACHER, 'backbone', 'norm_cfg', 'eps'),
            X,
            'model.teacher: YOLOX cannot run on the training',
        ),
        ('YOLOX by KD', (*TEACHER, 'backbone', 'norm_cfg', 'momentum'), X, 'model.teacher: YOLOX cannot run on the'),
        (
            'YOLOX by KD',
            (*TEACHER, 'neck', 'upsample_cfg', 'mode'),
            'x',
            'model.teacher: YOLOX cannot run on the train',
        ),
        ('YOLOX by KD', (*TEACHER, 'bbox_head', 'norm_cfg', 'eps'), None, 'model.teacher: its YOLOXHead does not fit'),
        ('FasterRCNN by SSKD', (*OWN, 'test_cfg', 'rpn', 'nms'), X, NO_PREDICTION + ' (NameError'),
        ('RetinaNet by SSKD', ('log_processor', 'window_size'), 'x', 'log_processor does not fit (AssertionError'),
        (
            'YOLOX by MHKD',
            (*OWN, 'data_preprocessor'),
            None,
            'model.student.data_preprocessor: it does not stack the images',
        ),
        ('RetinaNet by MHKD', (*OWN, 'backbone', 'init_cfg'), True, 'model.student.backbone.init_cfg: it must'),
        ('RetinaNet by SSKD', (*OWN, 'test_cfg', 'nms'), X, NO_PREDICTION + ' (NameError'),
        (
            'RetinaNet by KD',
            ('val_dataloader', 'dataset', 'pipeline', 1),
            dict(type='RandomFlip', prob=0.0),
            NO_PREDICTION,
        ),
    ],
)
def test_mistakes_that_were_not_told_once(valid, tmp_path, of, place, value, said):
    with pytest.raises(UserError) as caught:
        run(mutate(valid[of], place, 'retype', value), tmp_path)
    assert str(caught.value).startswith(said)
    assert '\n' not in str(caught.value)


@pytest.mark.long
def test_a_few_thousand_mistakes(valid, tmp_path, monkeypatch):
    a_few_thousand(valid, tmp_path, monkeypatch)
