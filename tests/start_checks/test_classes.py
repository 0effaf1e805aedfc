"""Labels, names and heads that do not fit stop the run before the first iteration."""

from types import SimpleNamespace

import pytest
from torch import nn

from mmkd.errors import UserError
from mmkd.start_checks.classes import check_classes, check_labels, check_validation_classes


class Labelled:
    """A data set with labels and without images."""

    def __init__(self, *labels: list[int], classes: tuple[str, ...] = ()):
        self.labels, self.metainfo = labels, dict(classes=classes)

    def __len__(self):
        return len(self.labels)

    def get_cat_ids(self, idx):
        return self.labels[idx]


def network(num_classes: int | None, part: str = 'head', kind: type = nn.Identity) -> nn.Module:
    student, head = nn.Module(), kind()
    if num_classes is not None:
        head.num_classes = num_classes
    student.add_module(part, head)
    return student


def classes_told(compares: bool, own: list, theirs: tuple) -> str:
    distiller = SimpleNamespace(compares_scores=compares, teacher=SimpleNamespace(classes=theirs))
    try:
        check_classes(distiller, SimpleNamespace(metainfo=dict(classes=own) if own else {}))
    except UserError as error:
        return str(error)
    return ''


def test_classes_in_another_order_cannot_be_compared():
    assert "('dog' where the student has 'cat'; 2 differ)" in classes_told(True, ['cat', 'dog'], ('dog', 'cat'))
    assert classes_told(False, ['cat', 'dog'], ('dog', 'cat')) == ''  # comparing features works
    for own, theirs in ((['cat', 'dog'], ('cat', 'dog')), ([], ('cat', 'dog')), (['cat', 'dog'], ())):
        assert classes_told(True, own, theirs) == ''


@pytest.fixture
def folders(tmp_path):
    """Make a data set of such folders, which mmpretrain counts."""
    pytest.importorskip('mmpretrain')
    from mmpretrain.datasets import CustomDataset

    def make(part: str, *classes: str, **options):
        for name in classes:
            (tmp_path / part / name).mkdir(parents=True)
            (tmp_path / part / name / '1.png').touch()
        return CustomDataset(data_root=str(tmp_path), data_prefix=part, pipeline=[], **options)

    return make


def test_a_folder_that_only_the_training_has_shifts_the_labels_of_the_validation(folders, tmp_path):
    train, val = folders('train', 'ant', 'bee', 'cow'), folders('val', 'bee', 'cow')
    with pytest.raises(UserError) as caught:
        check_validation_classes(train, val)
    assert str(caught.value) == (
        "val_dataloader.dataset: its classes are not those of train_dataloader.dataset, or in another order ('bee' "
        "where the training has 'ant'; 2 differ), so the same label means different classes; give both the same "
        'folders of classes, empty ones too, or the same metainfo=dict(classes=...).'
    )
    (tmp_path / 'val' / 'ant').mkdir()  # an empty folder counts
    check_validation_classes(train, folders('val'))


def test_more_classes_under_other_names():
    with pytest.raises(UserError, match=r"\('n01' where the training has 'ant'; 2 differ\)"):
        check_validation_classes(Labelled(classes=('ant', 'bee')), Labelled(classes=('n01', 'n02', 'n03')))


@pytest.mark.parametrize(
    ('train', 'val'),
    [
        (('ant', 'bee', 'cow'), ('ant', 'bee', 'cow')),
        (('ant', 'bee', 'cow'), ('ant', 'bee')),  # the last names are missing: the labels mean the same
        (('ant', 'bee'), ('n01', 'n02')),  # other words
        ((), ('ant',)),
        (('ant',), ()),
    ],
)
def test_classes_of_the_validation_that_mean_the_same(train, val):
    check_validation_classes(Labelled(classes=train), Labelled(classes=val))
    check_validation_classes(SimpleNamespace(), Labelled(classes=val))


def test_a_label_anywhere_in_the_data_that_the_head_does_not_know(folders):
    data = folders('train', 'ant', 'bee', 'cow')
    check_labels(network(3), dict(train_dataloader=data))
    with pytest.raises(UserError) as caught:
        check_labels(network(2), dict(train_dataloader=data))
    assert str(caught.value) == (
        "train_dataloader.dataset: it has the label 2 (cow), and the student's head knows 2 classes, 0 to 1; set its "
        'num_classes to 3, or fix the labels.'
    )


class RegressionHead(nn.Identity):
    """Like mmpretrain's, whose labels are not class indices."""


def test_labels_inside_wrappers_of_detectors_and_of_the_validation():
    inner = [Labelled([0, 1], []), SimpleNamespace(dataset=Labelled([1], [5, 0]))]
    dataset = SimpleNamespace(dataset=SimpleNamespace(datasets=inner), metainfo=dict(classes=list('abcdefgh')))
    cascade = nn.Module()
    cascade.roi_head = network(None, 'bbox_head', lambda: nn.ModuleList([network(None), nn.Identity()]))
    cascade.roi_head.bbox_head[-1].num_classes = 5
    for student in (network(5, 'bbox_head'), cascade):
        with pytest.raises(UserError, match=r'^val_dataloader\.dataset: it has the label 5 \(f\), .* num_classes to 8'):
            check_labels(student, dict(train_dataloader=inner[0], val_dataloader=dataset))
    with pytest.raises(UserError, match=r'it has the label 8, and .* 0 to 4; set its num_classes to 9, or fix'):
        check_labels(network(5), dict(train_dataloader=Labelled([8, 0], classes=tuple('abcdefgh'))))
    with pytest.raises(UserError, match=r'the label -1, and .* 0 to 1; fix the labels'):
        check_labels(network(2), dict(train_dataloader=Labelled([-1, 1], [0])))
    for unknowing in (network(None), network(1, kind=RegressionHead), nn.Module()):
        check_labels(unknowing, dict(train_dataloader=dataset))


def test_a_data_set_that_tells_no_labels_is_said_to_be_unchecked(monkeypatch):
    said = []
    monkeypatch.setattr('mmkd.start_checks.classes.print_log', lambda text, **_: said.append(text))
    check_labels(network(2), dict(train_dataloader=SimpleNamespace(__len__=lambda: 3), val_dataloader=Labelled([1])))
    assert [text.partition(':')[0] for text in said] == [
        'train_dataloader.dataset cannot list its labels without loading images (TypeError)'
    ]


@pytest.mark.parametrize(
    ('changes', 'said'),
    [
        ({'model.student.head.num_classes': 9}, r'^train_dataloader\.dataset: it has the label 9 .* num_classes to 10'),
        (
            {'val_dataloader.dataset.metainfo': dict(classes=[*'1023456789'])},
            r"^val_dataloader\.dataset: its classes are not .* \('1' where the training has '0'; 2 differ\)",
        ),
    ],
)
def test_before_the_first_stage_of_a_run(distil, changes, said):
    runner = distil(**changes)
    with pytest.raises(UserError, match=said):
        runner.train()
    assert runner.iter == 0
    stages = dict(stages=['layer1', 'layer2'])  # without training the head
    changes = {**changes, 'train_cfg.max_epochs': 2}
    distil('features', stages, **changes).train()
