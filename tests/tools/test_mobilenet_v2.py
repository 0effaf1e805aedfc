import errno
from importlib import import_module

import pytest
import torch


@pytest.mark.parametrize('toolbox', ['mmdet', 'mmpretrain'])
def test_torchvisions_weights_compute_the_same_in_a_toolboxs_backbone(run_tool, tmp_path, toolbox):
    pytest.importorskip(toolbox)
    from torchvision.models import mobilenet_v2

    torch.manual_seed(0)
    source = mobilenet_v2(weights=None).eval()
    torch.save(source.state_dict(), tmp_path / 'source.pth')
    paths = tmp_path / 'source.pth', tmp_path / 'new' / 'own.pth'
    assert run_tool('model_converters/mobilenet_v2.py', *paths, '--for', toolbox) is None
    state = torch.load(tmp_path / 'new' / 'own.pth', weights_only=True)['state_dict']
    own = import_module(f'{toolbox}.models.backbones').MobileNetV2(out_indices=(7,))
    own.eval()  # returns None
    own.load_state_dict({name.removeprefix('backbone.'): value for name, value in state.items()})
    inputs = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(own(inputs)[0], source.features(inputs))


def test_other_files_are_told(run_tool, tmp_path):
    pytest.importorskip('mmdet')
    torch.save({'features.0.weight': torch.zeros(3)}, tmp_path / 'other.pth')
    said = run_tool('model_converters/mobilenet_v2.py', tmp_path / 'other.pth', tmp_path / 'own.pth')
    assert said == 'error: the file does not hold the layers of a MobileNetV2 of width 1 in their order.'
    torch.save([3], tmp_path / 'other.pth')
    assert run_tool('model_converters/mobilenet_v2.py', tmp_path / 'other.pth', tmp_path / 'own.pth') == said
    said = run_tool('model_converters/mobilenet_v2.py', tmp_path / 'none.pth', tmp_path / 'own.pth')
    assert said.startswith(
        f'error: {tmp_path / "none.pth"} does not exist; get it with: curl -fO https://download.pytorch'
    )


def test_a_damaged_file_and_a_full_disk_are_told(run_tool, tmp_path, monkeypatch):
    pytest.importorskip('mmdet')
    from torchvision.models import mobilenet_v2

    source, own = tmp_path / 'source.pth', tmp_path / 'own.pth'
    torch.save(mobilenet_v2(weights=None).state_dict(), source)
    own.write_text('before')
    monkeypatch.setattr('os.fsync', full)
    said = run_tool('model_converters/mobilenet_v2.py', source, own)
    assert said == f'error: {own} cannot be written (No space left on device); make room or choose another place.'
    source.write_bytes(source.read_bytes()[:1000])
    said = run_tool('model_converters/mobilenet_v2.py', source, own)
    assert said.startswith(f'error: source: {source} cannot be read (')
    assert own.read_text() == 'before'
    assert {path.name for path in tmp_path.iterdir()} == {'source.pth', 'own.pth'}


def full(handle):
    raise OSError(errno.ENOSPC, 'No space left on device')
