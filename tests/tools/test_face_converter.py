import errno
import re

import pytest
import torch
from mmengine.registry import MODELS

from mmkd.models import IResNet, MobileFaceNet

NAMES = 'conv1 conv2_dw conv_23 conv_3.model conv_34 conv_4.model conv_45 conv_5.model'
OLD = dict(enumerate(NAMES.split()))
ENDS = {'features.layers.0': 'conv_6_dw', 'features.layers.2': 'linear', 'features.layers.3': 'bn'}
ENDS['conv_sep'] = 'conv_6_sep'


def in_pytorch_repository(name):
    """Translate a name of arcface_torch's MobileFaceNet into InsightFace_Pytorch's."""
    for new, old in ENDS.items():
        if name.startswith(f'{new}.'):
            rest = name[len(new) + 1 :]
            return f'{old}.' + re.sub(r'^layers\.(\d)', lambda m: ('conv', 'bn', 'prelu')[int(m[1])], rest)
    place, rest = re.fullmatch(r'layers\.(\d)\.(.*)', name).groups()
    place = int(place)
    number = ''
    if place in (3, 5, 7):
        number, rest = re.fullmatch(r'layers\.(\d+)\.(.*)', rest).groups()
        number = f'.{number}'
    if place > 1:
        inside, rest = re.fullmatch(r'layers\.(\d)\.(.*)', rest).groups()
        number += '.' + ('conv', 'conv_dw', 'project')[int(inside)]
    kind, rest = re.fullmatch(r'layers\.(\d)\.(.*)', rest).groups()
    return f'{OLD[place]}{number}.{("conv", "bn", "prelu")[int(kind)]}.{rest}'


@pytest.mark.parametrize(
    ('network', 'wrapped', 'size'),
    [
        (lambda: IResNet(34, 12, (4, 4, 6, 8, 10)), lambda state: state, 112),
        (
            lambda: IResNet(18, 12, image_size=64),
            lambda state: dict(state_dict_backbone=state, epoch=torch.tensor(1)),
            64,
        ),
        (lambda: MobileFaceNet(24), lambda state: {f'module.{name}': value for name, value in state.items()}, 112),
        (lambda: MobileFaceNet(24, 1, (2, 1, 1, 1)), lambda state: state, 112),
        (
            lambda: MobileFaceNet(24, 1),
            lambda state: {in_pytorch_repository(name): value for name, value in state.items()},
            112,
        ),
    ],
)
def test_published_weights_compute_the_same(run_tool, tmp_path, capsys, network, wrapped, size):
    torch.manual_seed(0)
    source = network().eval()
    torch.save(wrapped(source.state_dict()), tmp_path / 'source.pth')
    assert run_tool('model_converters/faces.py', tmp_path / 'source.pth', tmp_path / 'new' / 'own.pth') is None
    said = capsys.readouterr().out.splitlines()
    model = dict(type='mmkd.FaceRecognizer', data_preprocessor=dict(type='BaseDataPreprocessor'))
    own = MODELS.build(dict(model, backbone=eval(said[0].removeprefix('backbone=')))).eval()
    own.load_state_dict(torch.load(tmp_path / 'new' / 'own.pth', weights_only=True)['state_dict'])
    images = torch.randn(2, 3, size, size)
    with torch.no_grad():
        torch.testing.assert_close(own.embedding(images), source(images)[0])


def test_names_of_the_other_repository_are_its_own():
    names = [in_pytorch_repository(name) for name in MobileFaceNet(24, 1).state_dict()]
    for name in ('conv1.conv.weight', 'conv2_dw.prelu.weight', 'conv_23.conv.conv.weight', 'conv_23.project.bn.bias'):
        assert name in names
    for name in ('conv_3.model.0.conv_dw.bn.weight', 'conv_6_sep.conv.weight', 'conv_6_dw.bn.bias', 'linear.weight'):
        assert name in names
    assert 'bn.running_mean' in names


SMALL = IResNet(18, 12, (4, 4, 6, 8, 10)).state_dict()


@pytest.mark.parametrize(
    ('content', 'words'),
    [
        ({'fc.weight': torch.zeros(3)}, 'the file is of no network that is known: it has fc.weight'),
        ([3], 'the file holds no state dict'),
        ({**SMALL, 'more': torch.zeros(1)}, 'the file does not fit'),
        ({**SMALL, 'layer4.2.bn1.weight': torch.zeros(1)}, r'\(2, 2, 2, 3\) blocks'),
        ({name: SMALL[name] for name in SMALL if name != 'fc.weight'}, r"the file lacks 'fc\.weight'"),
        ({'conv_23.conv.conv.weight': torch.zeros(1), 'x.y': torch.zeros(1)}, 'no network that is known: it has x.y'),
    ],
)  # fmt: skip
def test_other_files_are_told(run_tool, tmp_path, content, words):
    torch.save(content, tmp_path / 'other.pth')
    said = run_tool('model_converters/faces.py', tmp_path / 'other.pth', tmp_path / 'own.pth')
    assert said.startswith('error: ')
    assert re.search(words, said)
    assert not (tmp_path / 'own.pth').exists()


def test_an_absent_file_is_told(run_tool, tmp_path):
    said = run_tool('model_converters/faces.py', tmp_path / 'none.pth', tmp_path / 'own.pth')
    assert said == f'error: source: {tmp_path / "none.pth"} does not exist.'


def test_a_damaged_file_and_a_full_disk_are_told(run_tool, tmp_path, monkeypatch):
    source, own = tmp_path / 'source.pth', tmp_path / 'own.pth'
    own.write_text('before')
    source.write_text('some text')
    said = run_tool('model_converters/faces.py', source, own)
    assert said.startswith(f'error: source: {source} cannot be read (')
    torch.save(SMALL, source)
    monkeypatch.setattr('os.fsync', full)
    said = run_tool('model_converters/faces.py', source, own)
    assert said == f'error: {own} cannot be written (No space left on device); make room or choose another place.'
    assert own.read_text() == 'before'
    assert {path.name for path in tmp_path.iterdir()} == {'source.pth', 'own.pth'}


def full(handle):
    raise OSError(errno.ENOSPC, 'No space left on device')
