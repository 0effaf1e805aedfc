import json
from pathlib import Path

import pytest
from mmengine.config import Config
from mmengine.model import MMFullyShardedDataParallel
from mmengine.optim import AmpOptimWrapper, OptimWrapper

from mmkd.errors import UserError
from mmkd.running import checks


@pytest.fixture
def coco(tmp_path) -> Config:
    """A config whose COCO set is there and whole."""
    (tmp_path / 'train').mkdir()
    (tmp_path / 'train' / '1.png').touch()
    (tmp_path / 'train.json').write_text(json.dumps(dict(images=[], annotations=[])))
    return Config(
        dict(
            train_dataloader=dict(
                dataset=dict(
                    type='BaseDataset', data_root=str(tmp_path), ann_file='train.json', data_prefix=dict(img='train')
                )
            )
        )
    )


def check(cfg: Config) -> None:
    checks.check_data(cfg, ('train_dataloader', 'val_dataloader'))


def test_whole_data_passes(coco):
    check(coco)


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (dict(data_root='/nowhere'), r'train_dataloader\.dataset\.data_root: folder /nowhere does not exist; prepare'),
        (dict(ann_file='val.json'), r'dataset\.ann_file: .*val\.json does not exist'),
        (dict(data_prefix=dict(img='images')), r'dataset\.data_prefix\.img: folder .*images does not exist'),
    ],
)
def test_absent_data(coco, changes, message):
    coco.train_dataloader.dataset.update(changes)
    with pytest.raises(UserError, match=message):
        check(coco)


def test_empty_image_folder(coco, tmp_path):
    (tmp_path / 'train' / '1.png').unlink()
    with pytest.raises(UserError, match=r'folder .*train is empty'):
        check(coco)


@pytest.mark.parametrize('content', ['', '{"images": [{"id": 1', '<html>not found</html>'])
def test_damaged_annotations(coco, tmp_path, content):
    (tmp_path / 'train.json').write_text(content)
    with pytest.raises(UserError, match=r'train\.json is cut off or no json file'):
        check(coco)


def test_damaged_arrays(coco, tmp_path):
    (tmp_path / 'images.npz').write_bytes(b'PK\x03\x04 and no more')
    coco.train_dataloader.dataset.ann_file = 'images.npz'
    with pytest.raises(UserError, match=r'images\.npz is cut off or no npz file'):
        check(coco)


@pytest.mark.parametrize(
    ('loader', 'key'),
    [
        (3, ''),
        ({}, '.dataset'),
        (dict(num_workers=10**9), '.num_workers'),
        (dict(num_workers=-1), '.num_workers'),
        (dict(batch_size=0), '.batch_size'),
        (dict(batch_size=None), '.batch_size'),
    ],
)
def test_data_loaders_that_cannot_be(coco, loader, key):
    coco.val_dataloader = loader
    with pytest.raises(UserError, match=rf'^val_dataloader{key}: '):
        check(coco)


def test_data_sets_inside_wrappers(coco):
    inner = coco.train_dataloader.dataset
    inner.data_root = '/nowhere'
    coco.train_dataloader.dataset = dict(type='RepeatDataset', dataset=dict(type='ConcatDataset', datasets=[inner]))
    with pytest.raises(UserError, match=r'train_dataloader\.dataset\.dataset\.datasets\.0\.data_root'):
        check(coco)


def test_data_elsewhere_than_on_the_disk_is_not_looked_for(coco):
    coco.train_dataloader.dataset.update(data_root='s3://bucket', backend_args=dict(backend='petrel'))
    check(coco)


def test_data_that_downloads_itself_is_not_looked_for():
    pytest.importorskip('mmpretrain')
    dataset = dict(type='CIFAR100', data_root='/nowhere', split='train')
    cfg = Config(dict(default_scope='mmpretrain', train_dataloader=dict(dataset=dataset)))
    check(cfg)
    cfg.train_dataloader.dataset.download = False
    with pytest.raises(UserError, match='data_root'):
        check(cfg)


def test_missing_keys_are_named_with_the_nearest():
    cfg = Config(dict(model=dict(), train_cfg=dict(), train_dataloadr=dict(), optim_wrapper=dict()))
    with pytest.raises(UserError, match=r'train_dataloader is missing\. Did you mean train_dataloadr'):
        checks.check_keys(cfg, checks.TRAINING_KEYS, 'training')


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
    with pytest.raises(UserError, match=r'--resume: checkpoint epoch_1\.pth does not exist\. Did you mean epoch_10'):
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


@pytest.mark.parametrize('kind', ['AmpOptimWrapper', 'mmengine.AmpOptimWrapper', AmpOptimWrapper])
def test_amp_without_a_gpu(monkeypatch, kind):
    monkeypatch.setattr(checks, 'get_device', lambda: 'cpu')
    with pytest.raises(UserError, match=r'optim_wrapper\.type: mixed precision \(--amp\) needs a GPU'):
        checks.check_amp(Config(dict(optim_wrapper=dict(type=kind))))
    monkeypatch.setattr(checks, 'get_device', lambda: 'cuda')
    checks.check_amp(Config(dict(optim_wrapper=dict(type=kind))))


@pytest.mark.parametrize('wrapper', [dict(), dict(type='OptimWrapper'), dict(type=OptimWrapper)])
def test_no_amp_needs_no_gpu(monkeypatch, wrapper):
    monkeypatch.setattr(checks, 'get_device', lambda: 'cpu')
    checks.check_amp(Config(dict(optim_wrapper=wrapper)))


def test_a_gpu_without_bfloat16(monkeypatch):
    monkeypatch.setattr(checks, 'get_device', lambda: 'cuda')
    monkeypatch.setattr(checks.torch.cuda, 'is_bf16_supported', lambda: False)
    cfg = Config(dict(optim_wrapper=dict(type='AmpOptimWrapper', dtype='bfloat16')))
    with pytest.raises(UserError, match=r'optim_wrapper\.dtype: this GPU knows no bfloat16; take --amp-dtype float16'):
        checks.check_amp(cfg)
    cfg.optim_wrapper.dtype = 'float16'
    checks.check_amp(cfg)


def test_teacher_that_is_not_there(tmp_path):
    with pytest.raises(UserError, match=r'model\.teacher\.checkpoint: checkpoint nowhere\.pth does not exist'):
        checks.check_teacher(Config(dict(model=dict(teacher=dict(config=dict(), checkpoint='nowhere.pth')))))
    with pytest.raises(UserError, match=r'config nowhere\.py does not exist'):
        checks.check_teacher(Config(dict(model=dict(teacher=dict(config='nowhere.py', checkpoint=None)))))
    checks.check_teacher(Config(dict(model=dict(type='Net'))))


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
    checks.check_data_parallel(Config(dict(model=dict(type='Net'), **changes)))  # a plain model may be


def test_a_distiller_is_not_compiled_as_one_piece():
    with pytest.raises(UserError, match=r'^compile: it makes one piece .* write model\.compile=True instead'):
        checks.check_compile(Config(dict(model=dict(student=dict()), compile=True)))
    checks.check_compile(Config(dict(model=dict(student=dict(), compile=True), compile=False)))
    checks.check_compile(Config(dict(model=dict(type='Net'), compile=True)))  # a plain model may be


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
