"""Looking at the first sample leaves the data set as it was. What a bad sample leads to: tests/integration."""

from types import SimpleNamespace

from mmkd.errors import UserError
from mmkd.hooks.first_batch import _apart, check_classes


def test_transforms_are_copied_inside_wrappers_and_data_is_not():
    inner = SimpleNamespace(pipeline=[[]], data=[1])
    outer = SimpleNamespace(datasets=[SimpleNamespace(dataset=inner, pipeline=[[]]), inner])
    copied = _apart(outer)
    for dataset in (copied.datasets[0].dataset, copied.datasets[1]):
        dataset.pipeline[0].append('an image')
        assert dataset.data is inner.data
    copied.datasets[0].pipeline[0].append('an image')
    assert inner.pipeline == outer.datasets[0].pipeline == [[]]


def classes_told(compares: bool, own: list, theirs: tuple) -> str:
    distiller = SimpleNamespace(compares_scores=compares, teacher=SimpleNamespace(classes=theirs))
    try:
        check_classes(distiller, SimpleNamespace(metainfo=dict(classes=own) if own else {}))
    except UserError as error:
        return str(error)
    return ''


def test_classes_in_another_order_cannot_be_compared():
    assert "('dog' where the student has 'cat'; 2 differ)" in classes_told(True, ['cat', 'dog'], ('dog', 'cat'))
    assert classes_told(False, ['cat', 'dog'], ('dog', 'cat')) == ''  # features can
    for own, theirs in ((['cat', 'dog'], ('cat', 'dog')), ([], ('cat', 'dog')), (['cat', 'dog'], ())):
        assert classes_told(True, own, theirs) == ''
