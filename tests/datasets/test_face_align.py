import cv2
import numpy as np
import pytest

from mmkd.datasets.faces.align import TEMPLATE, AlignFace, CropFace, similarity
from mmkd.errors import UserError


def umeyama(points, targets):
    """Umeyama's closed form, computed by a singular value decomposition."""
    means = points.mean(0), targets.mean(0)
    centred = points - means[0], targets - means[1]
    u, sizes, v = np.linalg.svd(centred[1].T @ centred[0] / len(points))
    signs = np.array([1, np.sign(np.linalg.det(u) * np.linalg.det(v))])
    rotation = u @ np.diag(signs) @ v
    scale = (sizes * signs).sum() / centred[0].var(0).sum()
    return np.column_stack([scale * rotation, means[1] - scale * rotation @ means[0]])


@pytest.mark.parametrize('seed', range(5))
def test_the_similarity_is_umeyamas(seed):
    random = np.random.RandomState(seed)
    points = np.array(TEMPLATE) * random.uniform(0.5, 3) + random.randn(5, 2) * 6
    np.testing.assert_allclose(similarity(points, np.array(TEMPLATE)), umeyama(points, np.array(TEMPLATE)), atol=1e-8)


def test_landmarks_come_to_the_template():
    turn = cv2.getRotationMatrix2D((100, 90), 25, 2.0)
    points = np.array(TEMPLATE) @ turn[:, :2].T + turn[:, 2] + 120
    image = np.zeros((400, 400, 3), np.uint8)
    for number, point in enumerate(points):
        cv2.circle(image, tuple(int(x) for x in point.round()), 5, (50 * number + 50,) * 3, -1)
    results = AlignFace(size=56)(dict(img=image, landmarks=points))
    assert results['img'].shape == (56, 56, 3)
    assert results['img_shape'] == (56, 56)
    seen = [results['img'][tuple((np.array(point)[::-1] / 2).round().astype(int))][0] for point in TEMPLATE]
    np.testing.assert_allclose(seen, [50, 100, 150, 200, 250], atol=6)


def test_a_box_is_cut_out():
    image = np.zeros((60, 80, 3), np.uint8)
    image[10:30, 20:60] = 200
    out = CropFace(size=40, margin=0.0)(dict(img=image, face_box=(20, 10, 40, 20)))['img']
    assert (out[11:29] == 200).all()  # a square of 40 pixels around the box's centre
    assert (out[:9] == 0).all()
    assert (out[31:] == 0).all()
    wide = CropFace(size=40, margin=1.0)(dict(img=image, face_box=(20, 10, 40, 20)))['img']
    assert (wide[:, :9] == 0).all()
    assert (wide[16:24, 11:29] == 200).all()


@pytest.mark.parametrize(
    ('results', 'words'),
    [
        (dict(img_path='a.jpg'), 'AlignFace: a.jpg has no landmarks; name them in the list'),
        (dict(sample_idx=3, landmarks=np.zeros((4, 2))), 'AlignFace: sample 3 has no landmarks'),
        (dict(landmarks=np.full((5, 2), np.nan)), 'AlignFace: sample has no landmarks'),
    ],
)
def test_what_is_missing_is_told(results, words):
    with pytest.raises(UserError, match=words):
        AlignFace()(dict(img=np.zeros((5, 5, 3), np.uint8), **results))


def test_boxes_and_sizes_that_cannot_be_are_told():
    image = np.zeros((5, 5, 3), np.uint8)
    with pytest.raises(UserError, match=r'CropFace: a\.jpg has no face_box'):
        CropFace()(dict(img=image, img_path='a.jpg'))
    with pytest.raises(UserError, match=r'the face_box of a\.jpg is empty: 3x0'):
        CropFace()(dict(img=image, img_path='a.jpg', face_box=(1, 1, 3, 0)))
    with pytest.raises(UserError, match='AlignFace: size must be a whole number of pixels'):
        AlignFace(size=(112, 112))
