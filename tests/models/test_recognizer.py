import copy

import pytest
import torch
from mmengine.registry import MODELS, init_default_scope

from mmkd.errors import UserError

BACKBONE = dict(type='mmkd.IResNet', depth=18, num_features=12, widths=(4, 4, 6, 8, 10), image_size=32)
PREPROCESSOR = dict(mean=[127.5] * 3, std=[127.5] * 3, to_rgb=True)


@pytest.fixture(autouse=True)
def mmpretrain():
    pytest.importorskip('mmpretrain')
    init_default_scope('mmpretrain')


def head(in_channels=12):
    return dict(type='ArcFaceClsHead', num_classes=5, in_channels=in_channels)


def build(kind='mmkd.FaceRecognizer', **options):
    model = dict(type=kind, backbone=BACKBONE, head=head(), data_preprocessor=PREPROCESSOR, **options)
    return MODELS.build(copy.deepcopy(model))


def samples(number):
    from mmpretrain.structures import DataSample

    return [DataSample().set_gt_label(i % 5) for i in range(number)]


def test_it_is_mmpretrains_classifier_with_another_prediction():
    torch.manual_seed(0)
    own, plain = build(), build('ImageClassifier')
    plain.load_state_dict(own.state_dict(), strict=True)
    own.load_state_dict(plain.state_dict(), strict=True)
    images = torch.randn(4, 3, 32, 32)
    for network in (own, plain):
        network.train()
    torch.testing.assert_close(own.loss(images, samples(4)), plain.loss(images, samples(4)))
    own.eval()
    plain.eval()
    torch.testing.assert_close(own(images), plain(images))
    predicted = own(images, samples(4), mode='predict')
    torch.testing.assert_close(torch.stack([sample.embedding for sample in predicted]), plain.extract_feat(images)[0])
    assert predicted[3].gt_label == 3
    raw = dict(inputs=[torch.full((3, 32, 32), 255, dtype=torch.uint8)], data_samples=samples(1))
    assert own.data_preprocessor(raw)['inputs'].unique().tolist() == [1]


def test_the_mirror_image_is_added():
    torch.manual_seed(0)
    network = build(flip=True).eval()
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        predicted = torch.stack([sample.embedding for sample in network(images, mode='predict')])
        other = torch.stack([sample.embedding for sample in network(images.flip(3), mode='predict')])
        torch.testing.assert_close(predicted, network.embedding(images) + network.embedding(images.flip(3)))
    torch.testing.assert_close(predicted, other)


def test_without_a_head_it_only_embeds():
    network = build()
    network.head = None
    assert not network.with_head
    assert not network.with_neck
    network.eval()
    images = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(network(images), network.embedding(images))
    with pytest.raises(UserError, match='learns from labels by its head; add head'):
        network.loss(images, samples(2))


def test_a_neck_makes_an_embedding_of_maps():
    resnet = dict(type='ResNet_CIFAR', depth=18, stem_channels=4, base_channels=4)
    model = dict(type='mmkd.FaceRecognizer', backbone=resnet, data_preprocessor=PREPROCESSOR)
    with pytest.raises(UserError, match=r'a feature of shape \(2, 32, 2, 2\) and no embedding'):
        MODELS.build(copy.deepcopy(model)).embedding(torch.randn(2, 3, 16, 16))
    network = MODELS.build(dict(copy.deepcopy(model), neck=dict(type='GlobalAveragePooling')))
    assert network.with_neck
    assert network.embedding(torch.randn(2, 3, 16, 16)).shape == (2, 32)
