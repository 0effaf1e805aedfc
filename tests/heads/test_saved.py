"""The file of a teacher's heads is always complete: the new one, or the old one."""

import errno

import pytest
import torch

from mmkd.checkpoints import atomic_files as whole_files
from mmkd.errors import UserError
from mmkd.heads import save_heads


def test_a_full_disk_leaves_the_file_that_was_there(tmp_path, monkeypatch):
    extras = {'teacher_heads.0.weight': torch.ones(3), 'adapters.0.weight': torch.ones(2)}
    torch.save(dict(state_dict={}, mmkd=dict(extras=extras)), tmp_path / 'epoch_1.pth')
    heads = tmp_path / 'made' / 'heads.pth'
    assert save_heads(str(tmp_path / 'epoch_1.pth'), str(heads)) == 1
    before = heads.read_bytes()

    def full(handle):
        raise OSError(errno.ENOSPC, 'No space left on device')

    monkeypatch.setattr(whole_files.os, 'fsync', full)
    with pytest.raises(UserError, match=r'heads\.pth cannot be written \(No space left on device\); make room'):
        save_heads(str(tmp_path / 'epoch_1.pth'), str(heads))
    assert heads.read_bytes() == before
    assert [path.name for path in heads.parent.iterdir()] == ['heads.pth']
