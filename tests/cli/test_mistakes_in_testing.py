"""``mmkd test`` and ``mmkd compare`` tell a mistake in a config in a sentence, by the key that the user wrote."""

from pathlib import Path

import pytest
import torch

from mmkd.utils.configs import load_config
from tests.conftest import ROOT
from tests.distil import KD

pytest.importorskip('mmpretrain')
pytest.importorskip('sklearn')


@pytest.fixture(autouse=True, scope='module')
def written(tmp_path_factory) -> Path:
    """A folder with a student, its distillation, and untrained weights."""
    from mmpretrain import get_model

    folder = tmp_path_factory.mktemp('written')
    base = ROOT / 'configs' / 'baselines' / 'resnet18-w16_digits.py'
    few = 'val_dataloader = dict(dataset=dict(indices=30))\ntest_dataloader = dict(dataset=dict(indices=20))\n'
    (folder / 'student.py').write_text(f'_base_ = {str(base)!r}\n{few}')
    (folder / 'kd.py').write_text(KD.replace('TEACHER', 'student.py'))
    weights = get_model(load_config(str(base)), pretrained=False).state_dict()
    torch.save(dict(state_dict=weights), folder / 'student.pth')
    return folder


@pytest.fixture
def asked(mmkd, written, tmp_path, monkeypatch):
    """What a command says with these options; what it writes goes to a folder of its own."""

    def ask(*args: object) -> str | None:
        from mmengine.logging import MMLogger

        MMLogger._instance_dict.clear()  # two runs within a second would share the first one's log
        return mmkd(*args)

    monkeypatch.chdir(tmp_path)
    for file in written.iterdir():
        (tmp_path / file.name).symlink_to(file)
    return ask


EMPTY = 'it holds no image, or filter_cfg leaves none; check that metainfo.classes names classes of ann_file as they'
BOTH = {
    'evaluator.type=Akkuracy': 'evaluator.type: mmpretrain has no Akkuracy. Did you mean Accuracy',
    'evaluator.topkk=1': 'evaluator.topkk: Accuracy takes no topkk. Did you mean topk',
    'evaluator.topk=100': 'evaluator does not fit (ValueError: Top-100 accuracy is unavailable since the number of',
    'dataloader.batch_sizes=3': 'dataloader does not fit (TypeError: DataLoader.__init__() got an unexpected',
    'dataloader.sampler.type=DefaultSampelr': 'dataloader.sampler.type: mmpretrain has no DefaultSampelr. Did you',
    'dataloader.dataset.splt=test': 'dataloader.dataset.splt: Digits takes no splt. Did you mean split?',
    'dataloader.dataset.pipeline.0.type=Resze': 'dataloader.dataset.pipeline.0.type: mmpretrain has no Resze. Did you',
    'dataloader.dataset.pipeline.0.scale=abc': 'dataloader.dataset: an image cannot be loaded (error: OpenCV',
    'dataloader.dataset.indices=0': f'dataloader.dataset: {EMPTY}',
}  # fmt: skip


@pytest.mark.parametrize('option', BOTH)
def test_of_the_data_and_the_evaluator(asked, option):
    sentence = BOTH[option]
    for start, command, split in (
        ('', ('test', 'kd.py', 'student.pth'), 'test'),
        ('student: ', ('compare', 'student.py', 'student.pth'), 'test'),
        ('student: ', ('compare', 'kd.py', 'student.pth', '--split', 'val'), 'val'),
    ):
        said = asked(*command, '--cfg-options', f'{split}_{option}')
        before = not said.startswith('error: student: ')  # found before anything was built
        assert said.startswith(f'error: {"" if before else start}{split}_{sentence}')
        assert '\n' not in said


@pytest.mark.parametrize(
    ('option', 'sentence'),
    [
        ('model.student.head.type=LinearClsHed', 'model.student.head.type: mmpretrain has no LinearClsHed. Did you'),
        ('model.student.backbone.dpth=18', 'model.student.backbone.dpth: ResNet_CIFAR takes no dpth. Did you mean'),
        ('model.techer=3', 'model.techer: KD takes no techer. Did you mean teacher'),
        ('custom_hooks=[EMAHook]', 'custom_hooks does not fit (TypeError: hook should be an instance of Hook or dict'),
        ('test_cfg.fp=True', 'test_cfg does not fit (TypeError: TestLoop.__init__() got an unexpected keyword'),
        ('val_cfg=None', 'val_cfg: it is missing; define val_dataloader, val_cfg, val_evaluator, or set all three'),
    ],
)
def test_of_other_keys(asked, option, sentence):
    for command, start in (('test', ''), ('compare', 'student: ')):
        said = asked(command, 'kd.py', 'student.pth', '--cfg-options', option)
        assert said.removeprefix(f'error: {start}').removeprefix('error: ').startswith(sentence)
        assert '\n' not in said


def test_randomness(asked):
    said = asked('test', 'kd.py', 'student.pth', '--cfg-options', 'randomness.sed=3')
    assert said.startswith('error: randomness does not fit (TypeError: Runner.set_randomness() got an unexpected')


def test_log_level(asked, tmp_path):
    said = asked('test', 'kd.py', 'student.pth', '--cfg-options', 'log_level=info')
    assert said == "error: log_level: it must be a level of logging such as 'INFO', not 'info'."
    assert not (tmp_path / 'work_dirs').exists()


@pytest.mark.parametrize(('flag', 'name'), [('--out', 'file/p.pkl'), ('--show-dir', 'file/drawn')])
def test_a_place_that_cannot_be_written(asked, tmp_path, flag, name):
    (tmp_path / 'file').touch()
    said = asked('test', 'kd.py', 'student.pth', flag, name)
    assert said.startswith(f'error: {flag}: file')
    assert ' cannot be written (' in said
    assert '\n' not in said


def test_a_part_that_validation_has_too_is_told_by_the_key_that_is_read(asked, tmp_path):
    (tmp_path / 'same.py').write_text("_base_ = 'student.py'\ntest_evaluator = val_evaluator = dict(type='Akkuracy')\n")
    assert asked('test', 'same.py', 'student.pth').startswith('error: test_evaluator.type: mmpretrain has no Akkuracy')


def test_augmentation_is_told_by_its_own_key(asked, tmp_path):
    (tmp_path / 'tta.py').write_text(
        "_base_ = 'student.py'\ntta_model = dict(type='AverageClsScoreTTA')\n"
        "tta_pipeline = [dict(type='TestTimeAug', transforms=[[dict(type='Resze')], [dict(type='PackInputs')]])]\n"
    )
    said = asked('test', 'tta.py', 'student.pth', '--tta')
    assert said.startswith('error: tta_pipeline.0.transforms.0.0.type: mmpretrain has no Resze.')


def test_without_a_mistake_both_work(asked):
    assert asked('test', 'kd.py', 'student.pth') is None
    assert asked('compare', 'kd.py', 'student.pth', '--split', 'val') is None


@pytest.mark.parametrize('loader', ['val', 'train'])
def test_training_tells_empty_data_too(asked, loader):
    said = asked('train', 'student.py', '--cfg-options', f'{loader}_dataloader.dataset.indices=0')
    assert said.startswith(f'error: {loader}_dataloader.dataset: {EMPTY}')
