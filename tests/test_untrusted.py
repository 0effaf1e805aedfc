"""What a checkpoint may hold, and that nothing in it runs."""

import functools
import http.server
import logging
import os
import pickle
import threading

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.logging import HistoryBuffer
from mmengine.runner import CheckpointLoader

from mmkd.errors import UserError
from mmkd.untrusted import TRUST, guarded, load_checkpoint


class Evil:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.fixture
def evil(tmp_path):
    """A file that makes a folder when it is loaded carelessly, and that folder."""
    torch.save(dict(state_dict=dict(), more=Evil(tmp_path / 'made')), tmp_path / 'evil.pth')
    return tmp_path / 'evil.pth', tmp_path / 'made'


def test_code_in_a_checkpoint_does_not_run(evil):
    file, made = evil
    message = r'evil\.pth holds more than weights .*\(posix\.mkdir\).*set trust_checkpoints=True in the config'
    with pytest.raises(UserError, match=message):
        load_checkpoint(str(file))
    assert not made.exists()


def test_nor_where_torch_is_told_to_load_anything(evil, monkeypatch):
    file, made = evil
    monkeypatch.setenv('TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD', '1')
    with pytest.raises(UserError):
        load_checkpoint(str(file))
    assert not made.exists()
    assert os.environ['TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD'] == '1'
    assert 'TORCH_FORCE_WEIGHTS_ONLY_LOAD' not in os.environ


def test_nor_from_a_url(evil, monkeypatch, tmp_path):
    file, made = evil
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'home'))
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path))
    server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with pytest.raises(UserError, match=r'posix\.mkdir'):
        load_checkpoint(f'http://127.0.0.1:{server.server_port}/{file.name}')
    server.shutdown()
    assert not made.exists()


def test_nor_in_anything_that_mmengine_loads(evil):
    file, made = evil
    with guarded(Config(dict())), pytest.raises(UserError):
        CheckpointLoader.load_checkpoint(str(file))
    assert not made.exists()


@pytest.mark.parametrize('how', ['config', 'environment'])
def test_unless_the_user_trusts_it(evil, how, monkeypatch):
    file, made = evil
    if how == 'environment':
        monkeypatch.setenv(TRUST, '1')
    with guarded(Config(dict(trust_checkpoints=how == 'config'))):
        CheckpointLoader.load_checkpoint(str(file))
    assert made.exists()


@pytest.mark.parametrize('owner', [np.ndarray, dict, HistoryBuffer])
def test_getattr_reaches_nothing_but_the_history_s_statistics(owner, tmp_path):
    class Reach:
        def __reduce__(self):
            return getattr, (owner, '__init__')

    torch.save(Reach(), tmp_path / 'reach.pth')
    with pytest.raises(UserError, match='holds more than weights'):
        load_checkpoint(str(tmp_path / 'reach.pth'))


def test_what_mmengine_s_checkpoints_hold_is_harmless(tmp_path, caplog):
    history = HistoryBuffer()
    history.update(1.0)
    arrays = [np.arange(3), np.ones(2, np.float32), np.array(['a', 'b']), np.array([True]), np.array([None, 1])]
    content = dict(
        message_hub=dict(log_scalars=dict(loss=history), runtime_info=dict(best=np.float64(0.5), steps=np.int64(3))),
        meta=dict(dataset_meta=dict(palette=arrays, classes=('a', 'b'), ids={1, 2})),
        mmkd=dict(random=(1, (2, 3), None), best=(0.5, torch.nn.Linear(2, 2).state_dict())),
    )
    torch.save(content, tmp_path / 'epoch_1.pth')
    with caplog.at_level(logging.WARNING):
        loaded = load_checkpoint(str(tmp_path / 'epoch_1.pth'))
    assert not caplog.records
    assert loaded['message_hub']['log_scalars']['loss'].mean() == 1.0
    assert loaded['message_hub']['runtime_info'] == dict(best=0.5, steps=3)
    for array, copy in zip(arrays, loaded['meta']['dataset_meta']['palette']):
        assert (array == copy).all()
    assert loaded['mmkd']['random'] == content['mmkd']['random']


def test_arrays_of_the_other_numpy_s_names(tmp_path):
    """Numpy 2 calls its module numpy._core, numpy 1 numpy.core."""
    file = tmp_path / 'old.pth'
    torch.save(dict(array=np.arange(3)), file, _use_new_zipfile_serialization=False)
    old, new = b'numpy.core.multiarray', b'numpy._core.multiarray'
    content = file.read_bytes()
    file.write_bytes(content.replace(new, old) if new in content else content.replace(old, new))
    assert load_checkpoint(str(file))['array'].tolist() == [0, 1, 2]


def test_a_damaged_file_is_no_matter_of_trust(tmp_path):
    (tmp_path / 'text.pth').write_text('<html>404</html>')
    with pytest.raises(pickle.UnpicklingError):
        load_checkpoint(str(tmp_path / 'text.pth'))
