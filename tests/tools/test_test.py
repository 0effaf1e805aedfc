"""The command line of testing."""

import pickle

import pytest
import torch

from mmkd.utils.configs import load_config
from tests.conftest import ROOT

pytest.importorskip('mmpretrain')
pytest.importorskip('sklearn')
SSKD = ROOT / 'configs' / 'sskd' / 'sskd_resnet18-w32_resnet18-w16_digits.py'


def test_a_distilled_student_with_test_time_augmentation(run_tool, tmp_path):
    from mmpretrain import get_model

    student = load_config(str(ROOT / 'configs' / 'baselines' / 'resnet18-w16_digits.py'))
    checkpoint = tmp_path / 'student.pth'
    torch.save(dict(state_dict=get_model(student, pretrained=False).state_dict()), checkpoint)
    config = tmp_path / 'config.py'
    config.write_text(
        f"_base_ = '{SSKD}'\n"
        "tta_model = dict(type='mmpretrain.AverageClsScoreTTA')\n"
        "tta_pipeline = [dict(type='TestTimeAug', transforms=[\n"
        "    [dict(type='Resize', scale=16)], [dict(type='RandomFlip', prob=1.0), dict(type='RandomFlip', prob=0.0)],\n"
        "    [dict(type='PackInputs')]])]\n"
    )
    scores = {}
    for name, flags in dict(plain=[], augmented=['--tta']).items():
        out = tmp_path / f'{name}.pkl'
        options = ['--cfg-options', 'test_dataloader.dataset.indices=40']
        assert (
            run_tool('test.py', config, checkpoint, '--work-dir', tmp_path / name, '--out', out, *flags, *options)
            is None
        )
        scores[name] = torch.stack([result['pred_score'] for result in pickle.loads(out.read_bytes())])
    assert scores['plain'].shape == scores['augmented'].shape == (40, 10)
    assert not torch.equal(scores['plain'], scores['augmented'])
    torch.testing.assert_close(scores['augmented'].sum(1), torch.ones(40))


def test_files_that_hold_no_weights_of_this_network(run_tool, tmp_path):
    """Mmengine would test a network without weights, and say so in the log's middle only."""
    from mmpretrain import get_model

    config = ROOT / 'configs' / 'baselines' / 'resnet18-w16_digits.py'
    file = tmp_path / 'file.pth'
    teacher = load_config(str(ROOT / 'configs' / 'baselines' / 'resnet18-w32_digits.py'))
    torch.save(dict(state_dict=get_model(teacher, pretrained=False).state_dict()), file)
    wider, cut = file.read_bytes(), file.read_bytes()[:5000]
    for content, said in (
        (
            wider,
            f'error: checkpoint: {file} does not fit the network: backbone.conv1.weight ((32, 3, 3, 3) instead of (',
        ),
        (cut, f'error: checkpoint: {file} cannot be read ('),
        (b'hello', f'error: checkpoint: {file} cannot be read ('),
    ):
        file.write_bytes(content)
        assert run_tool('test.py', config, file, '--work-dir', tmp_path / 'run').startswith(said)
    torch.save([1, 2], file)
    assert run_tool('test.py', config, file, '--work-dir', tmp_path / 'run').endswith(
        'holds no state_dict, only a list.'
    )
