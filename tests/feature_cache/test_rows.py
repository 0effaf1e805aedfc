"""Rows of bytes return what was put into them, bit for bit."""

import pytest
import torch
from mmengine.model import BaseDataPreprocessor, BaseModel
from mmengine.structures import BaseDataElement, InstanceData

from mmkd.errors import UserError
from mmkd.feature_cache.rows import FeatureReplay, RowFormat


def samples(count: int = 3, score: bool = True) -> list:
    made = []
    for i in range(count):
        sample = BaseDataElement(metainfo=dict(img_path=f'{i}.png'))
        sample.gt_label = torch.tensor([i])
        if score:
            sample.gt_score = torch.tensor([0.5, i, 0.25])
        made.append(sample)
    return made


def bit(tree) -> list:
    return [(part.dtype, part.shape, part.tolist()) for part in torch.utils._pytree.tree_leaves(tree)]


FEATURES = {
    'one': lambda n: (torch.randn(n, 5),),
    'tensor': lambda n: torch.randn(n, 2, 3, 3),
    'several': lambda n: (torch.randn(n, 5).half(), [torch.rand(n, 2, 2).bfloat16(), torch.rand(n).double()]),
    'odd bytes': lambda n: (torch.rand(n, 3) > 0.5, torch.randn(n, 3), dict(a=torch.randn(n, 1))),
}


@pytest.mark.parametrize('kind', FEATURES)
@pytest.mark.parametrize('count', [1, 3])
def test_back_as_it_was(kind, count):
    feature = FEATURES[kind](count)
    rows = RowFormat(feature, samples(count))
    packed = rows.pack(feature, samples(count))
    assert packed.shape == (count, rows.size)
    assert packed.dtype == torch.uint8
    back, truths = rows.unpack(packed)
    assert bit(back) == bit(feature)
    assert type(back) is type(feature)
    for found, expected in zip(truths, samples(count), strict=True):
        assert type(found) is BaseDataElement
        assert sorted(found.keys()) == ['gt_label', 'gt_score']
        assert torch.equal(found.gt_label, expected.gt_label)
        assert torch.equal(found.gt_score, expected.gt_score)


def test_a_row_counts_its_bytes():
    assert RowFormat((torch.zeros(3, 512),), samples(score=False)).size == 512 * 4 + 8
    assert RowFormat((torch.zeros(3, 512).half(),), samples(score=False)).size == 512 * 2 + 8


def detector(i: int) -> BaseDataElement:
    sample = BaseDataElement()
    sample.gt_instances = InstanceData(labels=torch.zeros(i + 1))
    return sample


def several_labels(i: int) -> BaseDataElement:
    sample = BaseDataElement()
    sample.gt_label = torch.arange(i + 1)
    return sample


@pytest.mark.parametrize(
    ('feature', 'truths', 'said'),
    [
        ((torch.zeros(3, 5),), [detector(i) for i in range(3)], 'only features of classifiers with one task'),
        ((torch.zeros(3, 5),), [several_labels(i) for i in range(3)], 'different numbers of labels'),
        (
            (torch.zeros(3, 5),),
            [*samples(2), samples(1, score=False)[0]],
            'ground truth of the images has different fields',
        ),
        ((torch.zeros(6, 5),), samples(3), 'does not return one feature for each image'),
        ((torch.zeros(3, 5), (4, 4)), samples(3), 'does not return one feature for each image'),
    ],
    ids=['detector', 'labels', 'kinds', 'crops', 'sizes'],
)
def test_what_has_no_row(feature, truths, said):
    with pytest.raises(UserError, match=said):
        RowFormat(feature, truths)


def test_a_later_batch_of_another_size():
    rows = RowFormat((torch.zeros(3, 5),), samples())
    with pytest.raises(UserError, match='differ in size from image to image'):
        rows.pack((torch.zeros(3, 6),), samples())


class Network(BaseModel):
    def __init__(self):
        super().__init__(data_preprocessor=BaseDataPreprocessor())
        self.layer = torch.nn.Linear(4, 4)

    def extract_feat(self, inputs):
        return (self.layer(inputs.mean(1)),)

    def forward(self, inputs, data_samples=None, mode='tensor'):
        (feature,) = self.extract_feat(inputs)
        return dict(loss=sum((x - s.gt_label).square().sum() for x, s in zip(feature, data_samples)))


def test_a_shortcut_is_taken_by_rows_alone():
    network, images = Network(), torch.rand(3, 2, 4)
    batch = dict(inputs=images, data_samples=samples())
    with torch.no_grad():
        feature = network.extract_feat(images)
    rows = RowFormat(feature, samples())
    replay = FeatureReplay(network, rows)
    calls = []
    network.layer.register_forward_hook(lambda *_: calls.append(1))
    expected = network(**network.data_preprocessor(batch, True), mode='loss')['loss']
    replay.enable()
    found = network(**network.data_preprocessor(dict(inputs=rows.pack(feature, samples())), True), mode='loss')['loss']
    assert len(calls) == 1
    assert found.item() == expected.item()
    assert network(**network.data_preprocessor(batch, False), mode='loss')['loss'].item() == expected.item()
    assert len(calls) == 2
    replay.disable()
    assert not {'forward', 'extract_feat'} & {*vars(network), *vars(network.data_preprocessor)}
