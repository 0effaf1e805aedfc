import numpy as np
import pytest

from mmkd.datasets import IJBA, IJBC
from mmkd.errors import UserError
from mmkd.evaluation import TemplateProtocol
from tests.datasets.faces import LANDMARKS, SIDE, write_ijba, write_ijbc


@pytest.fixture
def log(monkeypatch):
    said = []
    monkeypatch.setattr('mmkd.datasets.faces.rows.print_log', lambda text, logger: said.append(text))
    return said


METADATA = 'IJB-A_11_sets/split1/verify_metadata_1.csv'
COMPARED = 'IJB-A_11_sets/split2/verify_comparisons_2.csv'


def ijba(folder, **options):
    return IJBA(data_root=str(folder), data_prefix='images', **options)


def members(dataset, templates, template):
    """The files of a template, each with its medium."""
    its = templates.templates == template
    paths = [dataset.get_data_info(i)['img_path'].split('/')[-1] for i in templates.images[its]]
    return list(zip(paths, templates.media[its].tolist()))


def test_ijba(tmp_path):
    write_ijba(tmp_path)
    faces = ijba(tmp_path)
    protocol = faces.metainfo['protocol']
    assert isinstance(protocol, TemplateProtocol)
    assert (len(protocol.comparisons), len(protocol.searches)) == (2, 2)
    assert len(faces) == 6 * 3 + 4 * 2  # each image once; of the four in the gallery only the frames
    info = faces.get_data_info(0)
    assert info['face_box'] == (4, 2, SIDE, SIDE)
    one, two = protocol.comparisons
    assert members(faces, one.templates, 301) == [('1_3.png', 3), ('1_1.png', 4)]
    assert members(faces, two.templates, 301) == [('1_3.png', 3), ('1_2.png', 4)]
    assert list(zip(one.first, one.second, one.same))[:8] == [(200, 300 + p, p == 0) for p in range(6)] + [
        (201, 300 + p, p == 1) for p in range(2)
    ]
    search = protocol.searches[0]
    assert members(faces, search.gallery, 102) == [('2_1.png', 1), ('2_10.png', 5), ('2_11.png', 5)]
    assert search.gallery.people == {100 + p: p for p in range(4)}
    assert members(faces, search.probes, 205) == [('5_2.png', 2)]
    assert (protocol.tar_rates, protocol.ranks, protocol.tpir_rates) == ((0.1, 0.01, 0.001), (1, 5), (0.1, 0.01))
    assert (protocol.weights, protocol.keep_norm) == (None, False)


def test_frames_may_be_in_either_folder(tmp_path):
    write_ijba(tmp_path)  # the list says frame, the folder is named frames
    for folder in ('frames', 'frame'):
        faces = ijba(tmp_path)
        paths = [faces.get_data_info(i)['img_path'] for i in range(len(faces))]
        assert sum(f'images/{folder}/' in path for path in paths) == 8
        if folder == 'frames':
            (tmp_path / 'images' / 'frames').rename(tmp_path / 'images' / 'frame')


def test_missing_faces_are_told_or_left_out_and_counted(tmp_path, log):
    write_ijba(tmp_path)
    for name in ('img/5_2.png', 'frames/0_10.png'):
        (tmp_path / 'images' / name).unlink()
    with pytest.raises(UserError, match=r'verify_metadata_1.csv names images that are not in .*images: img/5_2.png;'):
        ijba(tmp_path)
    faces = ijba(tmp_path, skip_missing=True)
    # template 205 had no other image: it was a probe, was used for 1:1 in two splits, and was compared with six, twice
    said = 'IJBA leaves out 2 images, 4 templates, 12 comparisons, since images are missing.'
    assert log == [said]
    protocol = faces.metainfo['protocol']
    assert members(faces, protocol.searches[0].gallery, 100) == [('0_1.png', 1), ('0_11.png', 5)]
    assert 205 not in protocol.searches[1].probes.people
    assert len(protocol.comparisons[0].first) == 30


@pytest.mark.parametrize(
    ('file', 'change', 'words'),
    [
        (METADATA, ('MEDIA_ID', 'MEDIUM'), 'has no column MEDIA_ID. Did you mean MEDIUM'),
        (METADATA, ('FILE', 'X'), 'verify_metadata_1.csv has no column FILE'),
        ('IJB-A_1N_sets/split2/search_probe_2.csv', ('FACE_WIDTH', 'W'), 'search_probe_2.csv has no column FACE_WIDTH'),
        ('IJB-A_1N_sets/split2/search_probe_2.csv', (',20,20', ',a,20'), r"line 2 has no numbers for .*FACE_WIDTH 'a'"),
        ('IJB-A_1N_sets/split1/search_probe_1.csv', ('201,1,', '201,x,'), r"line 3 has no .*SUBJECT_ID 'x'"),
        (METADATA, ('301,1,', '301,2,'), 'template 301 is of two people'),
        (COMPARED, ('200,300', '200,777'), 'compares template 777, which has no image'),
        (COMPARED, ('200,300', '777,300'), 'compares template 777, which has no image'),
        (COMPARED, ('200,300', '200'), 'must have two templates a line'),
        (COMPARED, ('200,300', '200,a'), 'must have two templates a line'),
    ],
)  # fmt: skip
def test_bad_protocols_are_told(tmp_path, file, change, words):
    write_ijba(tmp_path)
    text = (tmp_path / file).read_text()
    assert change[0] in text
    count = 1 if change[0][0].isdigit() else -1
    (tmp_path / file).write_text(text.replace(*change, count))
    with pytest.raises(UserError, match=words):
        ijba(tmp_path)


def test_absent_parts_of_ijba_are_told(tmp_path):
    write_ijba(tmp_path)
    (tmp_path / 'IJB-A_1N_sets' / 'split2').rename(tmp_path / 'IJB-A_1N_sets' / 'split3')
    with pytest.raises(UserError, match=r'only one of IJB-A_11_sets and IJB-A_1N_sets below .* has split2'):
        ijba(tmp_path)
    (tmp_path / 'IJB-A_1N_sets' / 'split3').rename(tmp_path / 'IJB-A_1N_sets' / 'split2')
    (tmp_path / 'IJB-A_1N_sets' / 'split2' / 'search_gallery_2.csv').unlink()
    with pytest.raises(UserError, match=r'search_gallery_2\.csv does not exist; get the protocol again'):
        ijba(tmp_path)
    with pytest.raises(UserError, match='IJB-A_11_sets has no folder split1; set data_root'):
        ijba(tmp_path / 'images')


@pytest.mark.parametrize('name', ['ijbb', 'ijbc'])
def test_ijbb_and_ijbc(tmp_path, name):
    write_ijbc(tmp_path, name)
    faces = IJBC(data_root=str(tmp_path), name=name)
    protocol = faces.metainfo['protocol']
    assert len(faces) == 20
    np.testing.assert_allclose(faces.get_data_info(6)['landmarks'], LANDMARKS + 2)
    (comparisons,) = protocol.comparisons
    assert members(faces, comparisons.templates, 52) == [('9.jpg', 1), ('10.jpg', 2), ('11.jpg', 2)]
    pairs = list(zip(comparisons.first, comparisons.second, comparisons.same))
    assert pairs == [(10 + a, 50 + b, a == b) for a in range(5) for b in range(5)]
    assert [search.gallery.people for search in protocol.searches] == [{10: 0, 12: 2}, {11: 1, 13: 3}]
    assert members(faces, protocol.searches[1].gallery, 13) == [('12.jpg', 0)]
    assert protocol.searches[0].probes.people == {50 + p: p for p in range(5)}
    assert protocol.weights == pytest.approx([0.5, 0.6, 0.7, 0.8] * 5)
    assert protocol.keep_norm
    assert IJBC(data_root=str(tmp_path), name=name, detector_score=False).metainfo['protocol'].weights is None


def test_without_galleries_there_is_only_1_to_1(tmp_path):
    write_ijbc(tmp_path)
    for file in (tmp_path / 'meta').glob('*1N*'):
        file.unlink()
    assert IJBC(data_root=str(tmp_path)).metainfo['protocol'].searches == []


def test_missing_images_of_ijbc_are_told_or_left_out_and_counted(tmp_path, log):
    write_ijbc(tmp_path)
    for number in (8, 13, 14, 15):  # the gallery template of person 2, and all templates of probe person 3
        (tmp_path / 'loose_crop' / f'{number}.jpg').unlink()
    with pytest.raises(UserError, match=r'loose_crop: 8\.jpg and 3 others; set data_prefix'):
        IJBC(data_root=str(tmp_path))
    faces = IJBC(data_root=str(tmp_path), skip_missing=True)
    protocol = faces.metainfo['protocol']
    assert log == [
        'IJBC leaves out 4 images, 2 templates, 9 comparisons, 2 templates of searches, since images are missing.'
    ]
    assert len(protocol.weights) == len(faces) == 16
    assert members(faces, protocol.comparisons[0].templates, 54) == [('17.jpg', 1), ('18.jpg', 2), ('19.jpg', 2)]
    assert 12 not in protocol.searches[0].gallery.templates
    assert protocol.evaluate(np.random.RandomState(0).randn(16, 4).astype(np.float32))


@pytest.mark.parametrize(
    ('file', 'change', 'words'),
    [
        ('name_5pts_score.txt', (' 0.5\n', '\n'), r'line 1 must be a name, ten numbers for five landmarks and a score'),
        ('name_5pts_score.txt', ('0.jpg 6.0', '0.jpg x'), r'line 1 must be a name'),
        ('face_tid_mid.txt', ('3.jpg 50 2', '3.jpg 50'), r'line 4 must be an image, a template and a medium'),
        ('face_tid_mid.txt', ('3.jpg 50 2', '99.jpg 50 2'), r'line 4 names 99.jpg, which ijbc_name_5pts_'),
        ('template_pair_label.txt', ('10 50 1', '77 50 1'), 'names template 77, which has no image in'),
        ('template_pair_label.txt', ('10 50 1', '10 50 2'), 'must have two templates and a label, 0 or 1'),
        ('template_pair_label.txt', ('10 50 1', '10 50'), 'must have two templates and a label, 0 or 1'),
        ('1N_gallery_G1.csv', ('SUBJECT_ID', 'PERSON'), 'gallery_G1.csv has no column SUBJECT_ID'),
        ('1N_gallery_G1.csv', ('10,0', '10,x'), 'has a line without numbers of a template and a person'),
        ('1N_gallery_G1.csv', ('10,0', '77,0'), 'names template 77, which has no image'),
    ],
)  # fmt: skip
def test_bad_files_of_ijbc_are_told(tmp_path, file, change, words):
    write_ijbc(tmp_path)
    path = tmp_path / 'meta' / f'ijbc_{file}'
    text = path.read_text()
    assert change[0] in text
    path.write_text(text.replace(*change, 1))
    with pytest.raises(UserError, match=words):
        IJBC(data_root=str(tmp_path))


def test_absent_files_of_ijbc_are_told(tmp_path):
    write_ijbc(tmp_path)
    for name in ('1N_probe_mixed.csv', 'template_pair_label.txt', 'face_tid_mid.txt', 'name_5pts_score.txt'):
        (tmp_path / 'meta' / f'ijbc_{name}').unlink()
        with pytest.raises(UserError, match=f'ijbc_{name} does not exist'):
            IJBC(data_root=str(tmp_path))
