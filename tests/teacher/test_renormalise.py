from types import SimpleNamespace

import pytest
import torch
from mmdet.models import DetDataPreprocessor
from mmdet.structures import DetDataSample
from mmengine.model import ImgDataPreprocessor
from mmpretrain.models import ClsDataPreprocessor
from mmpretrain.structures import DataSample

from mmkd.teacher.renormalise import Renormalise

IMAGENET = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375])
OTHER = dict(mean=[0.0, 127.5, 90.0], std=[255.0, 127.5, 31.0])


def images():
    return torch.randint(0, 256, (4, 3, 32, 32), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


def run(preprocessor):
    return preprocessor(dict(inputs=list(images()), data_samples=None))['inputs']


CLS = [dict(cfg, to_rgb=to_rgb) for cfg in (IMAGENET, OTHER, {}) for to_rgb in (False, True)]
DET = [
    dict(cfg, **swap) for cfg in (IMAGENET, OTHER, {}) for swap in ({}, dict(bgr_to_rgb=True), dict(rgb_to_bgr=True))
]
PREPROCESSORS = [
    *[(ClsDataPreprocessor, cfg) for cfg in CLS],
    *[(DetDataPreprocessor, dict(cfg, pad_size_divisor=16)) for cfg in DET],
    (ImgDataPreprocessor, IMAGENET),
]


@pytest.mark.parametrize('student', PREPROCESSORS, ids=lambda pair: f'{pair[0].__name__}{pair[1]}')
def test_renormalised_as_the_teacher_s_own_preprocessor_does(student):
    student = student[0](**student[1])
    for teacher in PREPROCESSORS:
        teacher = teacher[0](**teacher[1])
        inputs, expected = run(student), run(teacher)
        untouched = inputs.clone()
        result = Renormalise(student, teacher)(inputs)
        assert torch.equal(inputs, untouched)
        torch.testing.assert_close(result, expected, rtol=1e-5, atol=2e-4)
        assert (result is inputs) == torch.equal(inputs, expected)


def test_a_tensor_of_mixed_images_is_renormalised_too():
    student = ClsDataPreprocessor(**IMAGENET, to_rgb=True)
    teacher = ClsDataPreprocessor(**OTHER)
    a, b = run(student), run(teacher)
    mixed, expected = 0.3 * a + 0.7 * a.flip(0), 0.3 * b + 0.7 * b.flip(0)
    torch.testing.assert_close(Renormalise(student, teacher)(mixed), expected, rtol=1e-5, atol=2e-4)


def test_grey_images():
    student, teacher = ClsDataPreprocessor(mean=[10], std=[2]), ClsDataPreprocessor(mean=[20], std=[8], to_rgb=True)
    grey = [image[:1] for image in images()]
    inputs, expected = (net(dict(inputs=grey))['inputs'] for net in (student, teacher))
    torch.testing.assert_close(Renormalise(student, teacher)(inputs), expected)


def test_keeps_type_and_device_of_the_images():
    renormalise = Renormalise(ClsDataPreprocessor(**IMAGENET), ClsDataPreprocessor(**OTHER))
    assert renormalise(torch.zeros(1, 3, 2, 2, dtype=torch.bfloat16)).dtype == torch.bfloat16
    assert renormalise(torch.zeros(1, 3, 2, 2, device='meta')).device.type == 'meta'


def test_a_preprocessor_that_knows_no_normalisation():
    plain = SimpleNamespace()
    inputs = torch.randn(1, 3, 2, 2)
    assert Renormalise(plain, plain)(inputs) is inputs


# Padding


def detection_batch(preprocessor, sizes=((40, 64), (64, 30), (64, 64))):
    """Images of different sizes, as detectors get them."""
    whole = images()[:1].float().repeat(len(sizes), 1, 2, 2)
    inputs = [image[:, :height, :width] for image, (height, width) in zip(whole, sizes)]
    samples = [DetDataSample(metainfo=dict(img_shape=size)) for size in sizes]
    data = preprocessor(dict(inputs=inputs, data_samples=samples))
    return data['inputs'], data['data_samples']


@pytest.mark.parametrize('own', [dict(IMAGENET, pad_value=3), dict(OTHER, pad_value=-1.5), dict(pad_value=114)])
@pytest.mark.parametrize('swap', [{}, dict(bgr_to_rgb=True)])
def test_padded_as_the_teacher_s_own_preprocessor_does(own, swap):
    student = DetDataPreprocessor(**IMAGENET, pad_size_divisor=48)
    teacher = DetDataPreprocessor(**own, **swap, pad_size_divisor=48)
    (inputs, samples), (expected, _) = detection_batch(student), detection_batch(teacher)
    untouched = inputs.clone()
    result = Renormalise(student, teacher)(inputs, samples)
    assert result.shape == (3, 3, 96, 96)
    torch.testing.assert_close(result, expected, rtol=1e-5, atol=2e-4)
    assert (result[0, :, 40:] == own['pad_value']).all()
    assert (result[1, :, :, 30:] == own['pad_value']).all()
    assert torch.equal(inputs, untouched)


def test_equal_padding_costs_nothing():
    student, teacher = DetDataPreprocessor(**IMAGENET, pad_value=2), DetDataPreprocessor(**IMAGENET, pad_value=2)
    inputs, samples = detection_batch(student)
    assert Renormalise(student, teacher)(inputs, samples) is inputs
    other = Renormalise(student, DetDataPreprocessor(**IMAGENET))
    inputs, samples = detection_batch(student, sizes=((64, 64), (64, 64)))
    assert other(inputs, samples) is inputs  # no padding


def test_a_classifier_s_samples_say_nothing_of_padding():
    student, teacher = ClsDataPreprocessor(**IMAGENET), ClsDataPreprocessor(**OTHER, pad_value=7)
    samples = [DataSample(metainfo=dict(img_shape=(8, 8))) for _ in images()]  # the size before the last resizing
    result = Renormalise(student, teacher)(run(student), samples)
    torch.testing.assert_close(result, run(teacher), rtol=1e-5, atol=2e-4)
