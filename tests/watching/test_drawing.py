import cv2
import numpy as np
import torch
from mmengine.structures import BaseDataElement

from mmkd.watching.drawing import GAP, HEAD, SIDE, FeaturePicture
from mmkd.watching.hook import _in_rgb

VIRIDIS = cv2.applyColorMap(np.arange(256, dtype=np.uint8)[None], cv2.COLORMAP_VIRIDIS)[0, :, ::-1]
DARK, BRIGHT = VIRIDIS[0], VIRIDIS[255]


def cell(picture: np.ndarray, row_above: int, column: int) -> np.ndarray:
    """The pixel in the middle of the upper left quarter of what begins there."""
    return picture[HEAD + row_above + 32, column * (SIDE + GAP) + 32]


def test_strength_by_one_scale_a_network_and_without_padding():
    """Two images of 32 x 64 and 64 x 32, padded to 64 x 64; the second network has another width and resolution."""
    picture = FeaturePicture(('student: layer1', 'teacher: layer2'))
    weak, strong = torch.zeros(2, 2, 2), torch.zeros(2, 2, 2)
    strong[:, 0, 0] = -3  # as strong as 3
    strong[:, 1, 1] = 99  # where the image is padded
    wide = torch.ones(3, 8, 8)
    wide[:, 0, 0] = torch.tensor([float('nan'), 1, 1])
    picture.add(torch.zeros(3, 32, 64, dtype=torch.uint8), torch.Size((64, 64)), (weak, wide))
    picture.add(torch.full((3, 64, 32), 200, dtype=torch.uint8), torch.Size((64, 64)), (strong, 5 * wide))
    drawn = picture.drawn()
    second = 128 + GAP  # rows of pixels above the second image
    assert drawn.shape == (HEAD + second + SIDE + GAP, 3 * (SIDE + GAP), 3)
    assert [cell(drawn, above, 0).tolist() for above in (0, second)] == [[0] * 3, [200] * 3]
    assert (cell(drawn, 0, 1) == DARK).all()
    assert (cell(drawn, second, 1) == BRIGHT).all()  # 3 is the strongest inside of the images
    assert (cell(drawn, 0, 2) == VIRIDIS[int(255 * (1 / 5))]).all()
    assert (drawn[HEAD + second :, 2 * (SIDE + GAP) + 128 :] == 255).all()  # a narrow image leaves white
    assert drawn[:HEAD, :].min() < 50  # the titles


def test_images_that_are_gray_small_large_or_normalised():
    for image in (torch.randn(1, 8, 8), torch.randn(3, 2000, 900), torch.full((3, 5, 5), 0.5)):
        picture = FeaturePicture(('one',))
        picture.add(image, image.shape[1:], (torch.ones(4, 2, 2),))
        drawn = picture.drawn()
        assert drawn.shape == (HEAD + SIDE + GAP, 2 * (SIDE + GAP), 3)


def test_colours_are_those_of_the_image():
    blue_first = torch.tensor([255, 0, 7], dtype=torch.uint8).reshape(3, 1, 1)
    from_file, made = BaseDataElement(metainfo=dict(img_path='a.png')), BaseDataElement()
    for sample, swapped_later, turned in (
        (from_file, True, True),
        (from_file, False, True),  # a network that takes BGR, as Caffe's
        (made, True, True),
        (made, False, False),
    ):
        (shown,) = _in_rgb(dict(inputs=[blue_first], data_samples=[sample]), swapped_later)
        assert shown.flatten().tolist() == ([7, 0, 255] if turned else [255, 0, 7])
    assert torch.equal(_in_rgb(dict(inputs=[blue_first]), False)[0], blue_first)
