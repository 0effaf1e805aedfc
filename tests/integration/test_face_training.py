"""Faces by the command line: each protocol through tools/test.py, and verification during training."""

import json
import re

import cv2
import numpy as np
import pytest
import torch
from mmengine.registry import MODELS, init_default_scope

from mmkd.datasets import IJBA, IJBC, FaceBin, FacePairs
from tests.datasets.faces import LANDMARKS, SIDE, write_bin, write_ijba, write_ijbc, write_lfw, write_records

BACKBONE = dict(type='mmkd.IResNet', depth=18, num_features=8, widths=(4, 4, 6, 8, 10), image_size=SIDE)
PREPROCESSOR = dict(mean=[120.0, 125.0, 130.0], std=[60.0, 55.0, 50.0], to_rgb=True)
PACK = dict(type='PackInputs')
LOAD = dict(type='LoadImageFromFile')

pytest.importorskip('mmpretrain')


def model(**options):
    head = dict(type='ArcFaceClsHead', num_classes=3, in_channels=8)
    return dict(type='mmkd.FaceRecognizer', backbone=BACKBONE, head=head, **options)


@pytest.fixture
def checkpoint(tmp_path):
    torch.manual_seed(0)
    init_default_scope('mmpretrain')
    network = MODELS.build(model(data_preprocessor=dict(type='ClsDataPreprocessor', **PREPROCESSOR)))
    torch.save(dict(state_dict=network.state_dict()), tmp_path / 'network.pth')
    return tmp_path / 'network.pth'


def config(folder, dataset, **more):
    cfg = dict(
        default_scope='mmpretrain',
        experiment_name=f'{folder.name}_{len(list(folder.iterdir()))}',
        model=model(flip=True),
        data_preprocessor=PREPROCESSOR,
        test_dataloader=dict(
            batch_size=5, num_workers=0, dataset=dataset, sampler=dict(type='DefaultSampler', shuffle=False)
        ),
        test_evaluator=dict(type='mmkd.FaceMetric'),
        test_cfg=dict(),
        env_cfg=dict(cudnn_benchmark=False),
    )
    path = folder / 'config.py'
    path.write_text('\n'.join(f'{key} = {value!r}' for key, value in {**cfg, **more}.items()))
    return path


def embedded(checkpoint, images):
    """The model's part of a config, without data set, preprocessor or loader."""
    network = MODELS.build(model(data_preprocessor=dict(type='BaseDataPreprocessor')))
    network.load_state_dict(torch.load(checkpoint)['state_dict'])
    network.eval()
    mean, std = (torch.tensor(PREPROCESSOR[key])[:, None, None] for key in ('mean', 'std'))
    pixels = torch.from_numpy(np.stack(images)[..., ::-1].copy()).permute(0, 3, 1, 2)
    normal = (pixels - mean) / std
    with torch.no_grad():
        return (network.embedding(normal) + network.embedding(normal.flip(3))).numpy()


def lfw(folder):
    write_lfw(folder)
    return dict(type='mmkd.FacePairs', data_root=str(folder), ann_file='pairs.txt', data_prefix='images', rates=(0.1,))


def aligned_lfw(folder):
    """Its images are not aligned, and a list has their landmarks."""
    pairs = write_lfw(folder)
    images = sorted({image for pair in pairs for image in pair[:2]})
    lines = []
    for person, photo in images:
        numbers = ' '.join(f'{x:.1f}' for x in (LANDMARKS + photo).ravel())
        lines.append(f'p{person}/p{person}_{photo:04d}.jpg {numbers}')
    (folder / 'landmarks.txt').write_text('\n'.join(lines))
    return dict(
        type='mmkd.FacePairs',
        data_root=str(folder),
        ann_file='pairs.txt',
        data_prefix='images',
        landmarks='landmarks.txt',
        rates=(0.1,),
    )


def a_bin(folder):
    write_bin(folder / 'lfw.bin')
    return dict(type='mmkd.FaceBin', ann_file=str(folder / 'lfw.bin'), folds=4, rates=(0.5, 1e-4))


def ijba(folder):
    write_ijba(folder)
    return dict(type='mmkd.IJBA', data_root=str(folder), data_prefix='images')


def ijbc(folder):
    write_ijbc(folder)
    return dict(type='mmkd.IJBC', data_root=str(folder))


def ijbb(folder):
    write_ijbc(folder, 'ijbb')
    return dict(type='mmkd.IJBC', data_root=str(folder), name='ijbb', detector_score=False, keep_norm=False)


def image(info):
    """Compute by hand what the pipeline makes of a sample."""
    if 'img' in info:
        return info['img']
    whole = cv2.imread(info['img_path'])
    if 'face_box' in info:  # at (4, 2), with the network's size
        return whole[2 : 2 + SIDE, 4 : 4 + SIDE]
    if 'landmarks' in info:  # OpenCV suffices for four points at the template's distances
        from mmkd.datasets.faces.align import TEMPLATE

        points, targets = info['landmarks'].astype(np.float64), np.array(TEMPLATE) * SIDE / 112
        matrix, _ = cv2.estimateAffinePartial2D(points, targets, method=cv2.RANSAC, ransacReprojThreshold=1e6)
        return cv2.warpAffine(whole, matrix, (SIDE, SIDE))
    return whole


@pytest.mark.parametrize(
    ('write', 'kind', 'steps', 'names'),
    [
        (lfw, FacePairs, [LOAD], {'accuracy', 'accuracy_std', 'TAR@FAR=0.1'}),
        (aligned_lfw, FacePairs, [LOAD, dict(type='mmkd.AlignFace', size=SIDE)], {'accuracy', 'TAR@FAR=0.1'}),
        (a_bin, FaceBin, [], {'accuracy', 'accuracy_std', 'TAR@FAR=0.5'}),
        (ijba, IJBA, [LOAD, dict(type='mmkd.CropFace', size=SIDE, margin=0.0)], {'TAR@FAR=0.1_std', 'rank-5'}),
        (ijbc, IJBC, [LOAD, dict(type='mmkd.AlignFace', size=SIDE)], {'TAR@FAR=0.1', 'rank-10', 'rank-1_std'}),
        (ijbb, IJBC, [LOAD, dict(type='mmkd.AlignFace', size=SIDE)], {'TAR@FAR=0.1', 'rank-5'}),
    ],
    ids=['lfw', 'lfw-landmarks', 'bin', 'ijba', 'ijbc', 'ijbb'],
)  # fmt: skip
def test_a_protocol_is_evaluated(run_tool, tmp_path, checkpoint, write, kind, steps, names):
    (tmp_path / 'data').mkdir()
    dataset = write(tmp_path / 'data')
    path = config(tmp_path, dict(dataset, pipeline=[*steps, PACK]))
    said = run_tool('test.py', path, checkpoint, '--work-dir', tmp_path / 'run')
    (scalars,) = (tmp_path / 'run').glob('*/*.json')
    found = {name.removeprefix('face/'): value for name, value in json.loads(scalars.read_text()).items()}
    assert said is None
    assert names <= set(found)
    data = kind(**{key: value for key, value in dataset.items() if key != 'type'})
    images = [image(data.get_data_info(i)) for i in range(len(data))]
    wanted = data.metainfo['protocol'].evaluate(embedded(checkpoint, images))
    assert {name: found[name] for name in wanted} == pytest.approx(wanted, abs=1e-3)
    log = next((tmp_path / 'run').glob('*/*.log')).read_text()
    assert re.search(r'Mean similarity \S+ of \d+ pairs of the same person', log)


def test_mistakes_are_one_sentence(run_tool, tmp_path, checkpoint):
    write_bin(tmp_path / 'lfw.bin')
    data = bytearray((tmp_path / 'lfw.bin').read_bytes())
    data[-8:] = b'cos\nsystem\n.'
    (tmp_path / 'lfw.bin').write_bytes(data)
    path = config(tmp_path, dict(type='mmkd.FaceBin', ann_file=str(tmp_path / 'lfw.bin'), pipeline=[PACK]))
    said = run_tool('test.py', path, checkpoint, '--work-dir', tmp_path / 'run')
    assert said.startswith('error: ')
    assert 'would build objects (os system)' in said
    state = torch.load(checkpoint)['state_dict']
    (tmp_path / 'lfw').mkdir()
    path = config(tmp_path, dict(lfw(tmp_path / 'lfw'), pipeline=[LOAD, PACK]))
    for number, told in (
        (float('nan'), 'nan.pth holds NaN or infinite numbers in backbone.features.bias: its training diverged'),
        (
            3e38,
            'p0_0001.jpg is not finite (5 of 5 are so bad); the network diverged',
        ),  # a number, but for the last time
    ):
        state['backbone.features.bias'][3] = number
        torch.save(dict(state_dict=state), tmp_path / 'nan.pth')
        said = run_tool('test.py', path, tmp_path / 'nan.pth', '--work-dir', tmp_path / f'run{number}')
        assert told in said


@pytest.mark.parametrize(('method', 'people'), [('SSKD', 3), ('SSKD', 7), ('SSKD', None), ('MHKD', 3)])
def test_a_student_is_verified_while_it_trains(run_tool, tmp_path, checkpoint, method, people):
    """The teacher may know other people than the student or have no head: only its embeddings are evaluated."""
    write_records(tmp_path / 'train.rec', [0, 0, 0, 1, 1, 1, 2, 2, 2, 2], cut=False)
    teacher = tmp_path / 'teacher.py'
    theirs = model()
    state = torch.load(checkpoint)['state_dict']
    weight = state.pop('head.norm_product.weight')
    if people:
        theirs['head']['num_classes'] = people
        state['head.norm_product.weight'] = torch.randn(people, weight.shape[1])
    else:
        theirs['head'] = None
    torch.save(dict(state_dict=state), checkpoint)
    teacher.write_text(f'default_scope = "mmpretrain"\nmodel = {theirs!r}\ndata_preprocessor = {PREPROCESSOR!r}\n')
    (tmp_path / 'lfw').mkdir()
    validation = dict(lfw(tmp_path / 'lfw'), pipeline=[LOAD, PACK])
    loader = dict(batch_size=5, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=False))
    student = model(flip=True)
    path = config(
        tmp_path,
        validation,
        model=dict(
            type=f'mmkd.{method}', student=student, teacher=dict(config=str(teacher), checkpoint=str(checkpoint))
        ),
        train_dataloader=dict(
            loader,
            dataset=dict(type='mmkd.FaceRecords', ann_file=str(tmp_path / 'train.rec'), pipeline=[PACK]),
            sampler=dict(type='DefaultSampler', shuffle=True),
        ),
        val_dataloader=dict(loader, dataset=validation),
        val_evaluator=dict(type='mmkd.FaceMetric'),
        val_cfg={},
        train_cfg=dict(by_epoch=True, max_epochs=12),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.01)),
        default_hooks=dict(checkpoint=dict(type='CheckpointHook', interval=12, save_best='face/TAR@FAR=0.1')),
    )
    assert run_tool('train.py', path, '--work-dir', tmp_path / 'run') is None
    log = next((tmp_path / 'run').glob('*/*.log')).read_text()
    assert re.search(r"The teacher's own score on the student's validation images: face/accuracy \d", log)
    scalars = next((tmp_path / 'run').glob('*/vis_data/scalars.json')).read_text()
    rows = [json.loads(line) for line in scalars.splitlines()]
    assert sum('face/accuracy' in row for row in rows) >= 2
    if method == 'MHKD':  # the heads know none of the people in the pairs
        heads = {name for row in rows for name in row if name.startswith('val_')}
        assert 'val_soft_layer1' in heads, heads
        assert not any('student_heads' in name for name in heads)
    assert list((tmp_path / 'run').glob('best_face*.pth'))
    assert 'does not tell its labels' not in log
    state = torch.load(tmp_path / 'run' / 'epoch_12.pth', weights_only=False)['state_dict']
    plain = MODELS.build(dict(model(data_preprocessor=PREPROCESSOR), type='mmkd.FaceRecognizer'))
    plain.load_state_dict(state, strict=True)
