"""Which configs are refused side by side, and which are not."""

import pytest
from mmengine.config import Config

from mmkd.cli.compare.candidates import Candidate
from mmkd.cli.compare.comparable import check_comparable
from mmkd.errors import UserError


def candidate(name: str, dataset: dict, *metrics: dict) -> Candidate:
    dataset = dict(dict(type='CustomDataset', data_root='data/cats', data_prefix='test', pipeline=[]), **dataset)
    evaluator = list(metrics) or dict(type='Accuracy', topk=(1,))
    return Candidate(name, '', '', Config(dict(test_dataloader=dict(dataset=dataset), test_evaluator=evaluator)))


def said(dataset: dict, metrics: list[dict], ours: dict | None = None, own: list[dict] | None = None) -> str:
    """The error for a student beside a teacher, ``''`` for none."""
    try:
        check_comparable(candidate('big', ours or {}, *(own or [])), candidate('small', dataset, *metrics), 'val')
    except UserError as error:
        return str(error)
    return ''


VOC = dict(type='VOCMetric', eval_mode='area')


@pytest.mark.parametrize(
    ('theirs', 'key', 'one', 'other'),
    [
        (said(dict(data_prefix='train'), []), 'val_dataloader.dataset.data_prefix', 'cats/test', 'cats/train'),
        (said(dict(type='ImageNet'), []), 'val_dataloader.dataset.type', 'CustomDataset', 'ImageNet'),
        (said(dict(indices=40), []), 'val_dataloader.dataset.indices', 'not given', '40'),
        (said({}, [], dict(indices=40)), 'val_dataloader.dataset.indices', '40', 'not given'),
        (said(dict(ann_file='x.txt'), []), 'val_dataloader.dataset.ann_file', 'not given', 'cats/x.txt'),
        (said({}, [dict(type='Accuracy'), VOC], own=[dict(type='Accuracy'), dict(VOC, eval_mode='11points')]),
         'val_evaluator.1.eval_mode', '11points', 'area'),
        (said({}, [dict(type='Accuracy'), VOC], own=[dict(type='Accuracy')]), 'val_evaluator.1.type', 'not given',
         'VOC'),
    ],
)  # fmt: skip
def test_refused(theirs, key, one, other):
    assert theirs.startswith(f'big and small cannot be compared: {key} is ')
    assert one in theirs.split(' for the one and ')[0]
    assert other in theirs.split(' for the one and ')[1]
    assert '\n' not in theirs


@pytest.mark.parametrize(
    'theirs',
    [
        said(dict(pipeline=[dict(type='Resize', scale=3)], test_mode=True), [dict(type='Accuracy', topk=(1, 5))]),
        said(dict(data_root='data', data_prefix='cats/test'), []),
        said(dict(data_root='./data/../data/cats/', data_prefix=dict(img_path='test')), [],
             dict(data_prefix=dict(img_path='test'))),
        said(dict(type='mmkd.ResidentArrayDataset'), [], dict(type='ArrayDataset')),
        said(dict(type='mmpretrain.CustomDataset'), [dict(type='mmpretrain.Accuracy')]),
        said({}, [dict(VOC, iou_thrs=[0.5])], own=[dict(VOC, iou_thrs=[0.5], collect_device='gpu')]),
    ],
)  # fmt: skip
def test_not_refused(theirs):
    assert theirs == ''


def test_inside_wrappers():
    wrapped = dict(type='RepeatDataset', times=1, dataset=dict(type='A', data_root='a'))
    other = dict(wrapped, dataset=dict(type='A', data_root='b'))
    assert 'val_dataloader.dataset.dataset.data_root is ' in said(other, [], wrapped)


def test_inside_joined_data_sets():
    joined = dict(type='ConcatDataset', datasets=[dict(type='A', data_root='a', pipeline=[1]), dict(type='B')])
    shown_otherwise = dict(joined, datasets=[dict(type='A', data_root='a', pipeline=[2]), dict(type='B')])
    assert said(shown_otherwise, [], joined) == ''
    other = dict(joined, datasets=[dict(type='A', data_root='b'), dict(type='B')])
    assert 'val_dataloader.dataset.datasets.0.data_root is ' in said(other, [], joined)
