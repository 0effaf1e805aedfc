from pathlib import Path

import pytest
from mmengine.config import Config
from mmengine.model import MMFullyShardedDataParallel

from mmkd.cli import checks
from mmkd.errors import UserError


def test_missing_keys_are_named_with_the_nearest():
    cfg = Config(dict(model=dict(), train_cfg=dict(), train_dataloadr=dict(), optim_wrapper=dict()))
    with pytest.raises(UserError, match=r'train_dataloader is missing\. Did you mean train_dataloadr'):
        checks.check_keys(cfg, checks.TRAINING_KEYS, 'training')


WHOLE = dict(model=dict(type='mmkd.KD'), train_cfg=dict(), train_dataloader=dict(), optim_wrapper=dict())


def test_a_model_without_a_type_is_refused():
    cfg = Config({**WHOLE, 'model': dict(data_preprocessor=dict(mean=[1, 2, 3]))})
    with pytest.raises(UserError, match=r'^model: it has no type; name the class to build\.$'):
        checks.check_keys(cfg, checks.TRAINING_KEYS, 'training')


@pytest.mark.parametrize(
    ('options', 'key', 'near'),
    [
        ({'unlabeled_dataloader.batch_size': 3}, 'unlabeled_dataloader', 'unlabelled_dataloader'),
        ({'optim_wraper.optimizer.lr': 7}, 'optim_wraper', 'optim_wrapper'),
        ({'default_hook.checkpoint.interval': 5}, 'default_hook', 'default_hooks'),
        ({'modl.alpha': 0.3}, 'modl', 'model'),
        ({'param_schedulers': [dict(type='MultiStepLR')]}, 'param_schedulers', 'param_scheduler'),
    ],
)
def test_misspelled_keys_are_refused(options, key, near):
    cfg = Config(WHOLE)
    cfg.merge_from_dict(options)
    with pytest.raises(UserError, match=rf'^{key}: nothing reads this key\. Did you mean {near}\?$'):
        checks.check_keys(cfg, checks.TRAINING_KEYS, 'training')


@pytest.mark.parametrize(
    'own',
    [
        dict(
            backend_args=dict(), train_pipeline=[dict()], test_pipeline=[dict()], tta_pipeline=[dict()], conv_cfg=dict()
        ),
        dict(data_preprocessor=dict(), model_wrapper_cfg=dict(), tta_model=dict(), strategy=dict(), compile=dict()),
        dict(train_dataloader_2=dict(), my_train_dataloader=dict(), val_evaluator_abs=[dict()], model3=dict()),
        dict(modl=3, optim_wraper='x', default_hook=None, unlabeled_dataloader=[]),
    ],
)
def test_a_user_s_own_variables_are_not_misspelled(own):
    checks.check_keys(Config({**WHOLE, **own}), checks.TRAINING_KEYS, 'training')


def test_missing_toolbox(monkeypatch):
    monkeypatch.setattr(checks, 'find_spec', lambda name: None)
    for cfg, extra in (
        (dict(default_scope='mmdet'), 'det'),
        (dict(a=[dict(type='mmpretrain.ResNet')]), 'cls'),
        (dict(model=dict(_scope_='mmdet')), 'det'),
    ):
        with pytest.raises(UserError, match=rf'which is not installed; run: pip install "mmkd\[onedl-{extra}\]"'):
            checks.check_toolboxes(Config(cfg))


def test_a_toolbox_that_the_config_does_not_use_is_not_looked_for(monkeypatch):
    asked = []
    monkeypatch.setattr(checks, 'find_spec', lambda name: asked.append(name) or True)
    checks.check_toolboxes(Config(dict(default_scope='mmdet', work_dir='/home/mmpretrain/x', list=[dict(type='Net')])))
    assert asked == ['mmdet']


def test_checkpoints(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path('epoch_10.pth').write_bytes(b'x')
    Path('empty.pth').touch()
    checks.check_checkpoint('--resume', 'epoch_10.pth')
    checks.check_checkpoint('--resume', 'https://example.org/x.pth')
    with pytest.raises(
        UserError,
        match=r'--resume: epoch_1\.pth does not exist in the .* Did you mean epoch_10',
    ):
        checks.check_checkpoint('--resume', 'epoch_1.pth')
    with pytest.raises(UserError, match='is empty'):
        checks.check_checkpoint('--resume', 'empty.pth')


def test_work_dir_that_cannot_be_written(tmp_path):
    (tmp_path / 'file').touch()
    for work_dir in (tmp_path / 'file', tmp_path / 'file' / 'below', '/proc/nowhere'):
        with pytest.raises(UserError, match='cannot be written'):
            checks.check_work_dir(str(work_dir))
    checks.check_work_dir(str(tmp_path / 'new' / 'dir'))
    assert list((tmp_path / 'new' / 'dir').iterdir()) == []


def teaching(folder: Path, **teacher) -> Config:
    """Write a config with a teacher into a folder."""
    file = folder / 'mine.py'
    file.write_text(f'model = dict(student=dict(), teacher={teacher})')
    return Config.fromfile(file)


def test_teacher_that_is_not_there(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path('r34.py').write_text('model = dict()')
    for teacher, said in (
        (
            dict(config='r34.py', checkpoint='nowhere.pth'),
            r'\.checkpoint: nowhere\.pth does not exist',
        ),
        (
            dict(config='nowhere.py', checkpoint=None),
            r'\.config: config nowhere\.py does not exist in the',
        ),
        (
            dict(config='r34.py', checkpnt=None),
            ': it lacks checkpoint and has unknown keys: checkpnt; write',
        ),
        (
            dict(config='mine.py', checkpoint='r34.py'),
            r'\.checkpoint: r34\.py is a config by its name; name',
        ),
        (dict(config='x.pth', checkpoint=None), r'\.config: config x\.pth does not exist'),
        (dict(config=dict(), checkpoint=None), r'\.config: it has no model; name the whole config'),
    ):
        with pytest.raises(UserError, match=rf'^model\.teacher{said}'):
            checks.check_teacher(teaching(tmp_path, **teacher))
    checks.check_teacher(Config(dict(model=dict(type='Net'))))


def test_paths_that_count_from_the_config_s_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / 'configs'
    folder.mkdir()
    (folder / 'r34.py').write_text('model = dict()')
    (folder / 'r34.pth').write_bytes(b'x')
    (tmp_path / 'there.py').write_text('model = dict()')
    cfg = teaching(folder, config='there.py', checkpoint='r34.pth')
    with pytest.raises(UserError, match=f'There is one beside the config: write {folder}/r34.pth'):
        checks.check_teacher(cfg)
    cfg = teaching(folder, config='r34.py', checkpoint=None)
    with pytest.raises(UserError, match=f'There is one beside the config: write {folder}/r34.py'):
        checks.check_teacher(cfg)


def test_a_folder_in_the_place_of_a_checkpoint(tmp_path):
    with pytest.raises(UserError, match=r'--resume: .* is a folder; name a file in it\.$'):
        checks.check_checkpoint('--resume', str(tmp_path))
    (tmp_path / 'epoch_3.pth').write_bytes(b'x')
    with pytest.raises(UserError, match=r'is a folder; name a file in it, such as .*/epoch_3\.pth\.$'):
        checks.check_checkpoint('--resume', str(tmp_path))
    with pytest.raises(UserError, match='does not exist'):
        checks.check_checkpoint('--resume', 'x' * 300)


def test_a_work_dir_that_is_no_path():
    with pytest.raises(UserError, match='work_dir: it must be a path, not 5'):
        checks.check_work_dir(5)


@pytest.mark.parametrize(
    ('changes', 'key'),
    [
        (dict(model_wrapper_cfg=dict(type='MMFullyShardedDataParallel', cpu_offload=True)), 'model_wrapper_cfg'),
        (dict(model_wrapper_cfg=dict(type=MMFullyShardedDataParallel)), 'model_wrapper_cfg'),
        (dict(runner_type='FlexibleRunner', strategy=dict(type='DeepSpeedStrategy')), 'strategy'),
        (dict(runner_type='FlexibleRunner'), 'runner_type'),
    ],
)
def test_a_distiller_is_not_sharded(changes, key):
    with pytest.raises(UserError, match=f'^{key}: distillation runs under plain DDP only .* leave {key} out'):
        checks.check_data_parallel(Config(dict(model=dict(type='mmkd.SSKD', student=dict()), **changes)))
    checks.check_data_parallel(Config(dict(model=dict(type='Net'), **changes)))  # a plain model is allowed


def test_a_distiller_is_not_compiled_as_one_piece():
    with pytest.raises(
        UserError, match=r'^compile: it would compile the whole distiller.* write model\.compile=True instead'
    ):
        checks.check_compile(Config(dict(model=dict(student=dict()), compile=True)))
    checks.check_compile(Config(dict(model=dict(student=dict(), compile=True), compile=False)))
    checks.check_compile(Config(dict(model=dict(type='Net'), compile=True)))  # a plain model is allowed


def test_images_without_labels_need_a_teacher():
    loader = dict(batch_size=2, dataset=dict())
    with pytest.raises(UserError, match=r'^unlabelled_dataloader: only a distiller learns from images without labels'):
        checks.check_unlabelled(Config(dict(model=dict(type='Net'), unlabelled_dataloader=loader)))
    checks.check_unlabelled(Config(dict(model=dict(student=dict()), unlabelled_dataloader=loader)))
    checks.check_unlabelled(Config(dict(model=dict(type='Net'), unlabelled_dataloader=None)))


def test_ddp_is_welcome():
    for wrapper in (None, dict(type='MMDistributedDataParallel'), dict(find_unused_parameters=True)):
        checks.check_data_parallel(Config(dict(model=dict(student=dict()), model_wrapper_cfg=wrapper)))


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (dict(train_cfg=dict(max_epochs=-1)), r'train_cfg\.max_epochs: it must be above 0, not -1\.'),
        (dict(val_evaluator=-1), r'val_evaluator: it must be a dict or a list of them, not -1\.'),
        (dict(optim_wrapper=dict(lr=0.1)), r'optim_wrapper\.optimizer: it must be a dict such as .*, not None\.'),
    ],
)
def test_budgets_and_optimizers_that_cannot_be(changes, message):
    whole = dict(train_cfg=dict(max_epochs=1), optim_wrapper=dict(optimizer=dict(type='SGD')), model=dict(student={}))
    with pytest.raises(UserError, match=message):
        checks.check_training(Config({**whole, **changes}))
