"""The tool that saves a teacher's heads."""

import torch


def test_the_heads_of_a_checkpoint_are_saved(run_tool, tmp_path, capsys):
    extras = {'teacher_heads.0.weight': torch.ones(3), 'adapters.0.weight': torch.ones(2)}
    torch.save(dict(state_dict={}, mmkd=dict(extras=extras)), tmp_path / 'epoch_1.pth')
    assert run_tool('save_teacher_heads.py', tmp_path / 'epoch_1.pth', tmp_path / 'heads.pth') is None
    assert f'1 tensors, are in {tmp_path / "heads.pth"}; ' in capsys.readouterr().out
    assert (tmp_path / 'heads.pth').is_file()


def test_a_checkpoint_that_is_not_there(run_tool, tmp_path):
    said = run_tool('save_teacher_heads.py', tmp_path / 'gone.pth', tmp_path / 'heads.pth')
    assert said.startswith('error: ')
    assert 'gone.pth' in said
