import json

import pytest
from mmengine.config import Config
from torch.utils.data import Dataset

from mmkd.cli import data_checks
from mmkd.errors import UserError


@pytest.fixture
def coco(tmp_path) -> Config:
    """A config whose COCO data set exists and is complete."""
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


@pytest.mark.parametrize('wrapped', [False, True])
def test_what_is_on_the_device_cannot_be_pinned(monkeypatch, coco, wrapped):
    data = dict(coco.train_dataloader.dataset, type='mmkd.ResidentArrayDataset')
    coco.train_dataloader.dataset = dict(type='RepeatDataset', times=2, dataset=data) if wrapped else data
    coco.train_dataloader.pin_memory = True
    check(coco)
    monkeypatch.setattr(data_checks, 'get_device', lambda: 'cuda')
    with pytest.raises(UserError, match=r'^train_dataloader\.pin_memory: the images of ResidentArrayDataset are'):
        check(coco)
    coco.train_dataloader.pin_memory = False
    check(coco)
    data['type'] = 'BaseDataset'
    coco.train_dataloader.pin_memory = True
    coco.train_dataloader.dataset = data
    check(coco)


def check(cfg: Config) -> None:
    data_checks.check_data(cfg, ('train_dataloader', 'val_dataloader'))


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


class Drawn(Dataset):
    """Torch's own: these names may mean anything in it."""

    def __init__(self, data_root: str, ann_file: list, data_prefix: str):
        self.arguments = data_root, ann_file, data_prefix


def test_what_a_data_set_of_another_kind_takes_is_its_own_affair(coco):
    coco.train_dataloader.dataset = dict(type=Drawn, data_root='no folder', ann_file=['a', 'b'], data_prefix='train')
    check(coco)


@pytest.mark.parametrize(
    'changes', [dict(data_root='x' * 300), dict(ann_file='x' * 300), dict(data_prefix=dict(img='x' * 300))]
)
def test_names_that_no_file_can_have(coco, changes):
    coco.train_dataloader.dataset.update(changes)
    with pytest.raises(UserError, match=r'^train_dataloader\.dataset: its data_root, .* \(OSError: .*too long'):
        check(coco)


@pytest.mark.parametrize('value', [3, True, ['a'], 1.5])
@pytest.mark.parametrize('key', ['data_root', 'data_prefix', 'data_prefix.img', 'ann_file'])
def test_paths_that_are_none(coco, key, value):
    coco.merge_from_dict({f'train_dataloader.dataset.{key}': value})
    with pytest.raises(UserError, match=rf'^train_dataloader\.dataset\.{key}: it must be a path, not '):
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


def test_paths_below_the_home_folder(coco, tmp_path, monkeypatch):
    monkeypatch.setenv('HOME', str(tmp_path))
    data = coco.train_dataloader.dataset
    data.update(data_root=None, ann_file='~/train.json', data_prefix=dict(img='~/train'))
    check(coco)
    data.data_prefix = '~/images'
    with pytest.raises(UserError, match=rf'dataset\.data_prefix: folder {tmp_path}/images does not exist'):
        check(coco)


@pytest.mark.parametrize('changes', [dict(data_root='s3://bucket'), dict(ann_file='https://host/train.json')])
def test_urls_are_not_looked_for(coco, changes):
    coco.train_dataloader.dataset.update(changes)
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
