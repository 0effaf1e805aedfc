"""What a checkpoint may contain, and that loading it runs no code."""

import functools
import http.server
import logging
import os
import pickle
import threading
import zipfile

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.logging import HistoryBuffer
from mmengine.runner import CheckpointLoader

from mmkd.checkpoints.atomic_files import is_whole
from mmkd.checkpoints.safe_load import TRUST, guarded, load_checkpoint
from mmkd.errors import UserError


class Evil:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.fixture
def evil(tmp_path):
    """A file whose careless loading creates a folder, and the path of that folder."""
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


class Says:
    """Pickles as a call with a state, whatever these are."""

    def __init__(self, function, args, state):
        self.said = function, args, state

    def __reduce__(self):
        return self.said


POINTERS = (3, '|', None, ('x',), {'x': (np.dtype('O'), 0)}, 8, 1, 0)  # eight bytes would be an object's address
FLAGS = (3, '<', None, None, None, 8, 1, 63)
rebuild = np.zeros(0).__reduce__()[0]


def array_of(dtype, content, shape=(1,)) -> Says:
    return Says(rebuild, (np.ndarray, (0,), b'b'), (1, shape, dtype, False, content))


@pytest.mark.parametrize(
    'content',
    [
        array_of(Says(np.dtype, ('V8', False, True), POINTERS), b'\1' * 8),
        array_of(Says(np.dtype, ('f8', False, True), POINTERS), b'\1' * 8),
        array_of(Says(np.dtype, ('U2', False, True), POINTERS), b'\1' * 8),
        array_of(Says(np.dtype, ([('x', 'O')], False, True), POINTERS), b'\1' * 8),
        array_of(Says(np.dtype, ('O8', False, True), FLAGS), b'\1' * 8),
        array_of(Says(np.dtype, ('f8', False, True), FLAGS), [1]),
        Says(np.float64(0).__reduce__()[0], (np.dtype('O'), b'\1' * 8), None),
    ],
    ids=['void', 'number', 'text', 'fields', 'objects from bytes', 'numbers from objects', 'a number of objects'],
)
def test_no_dtype_takes_bytes_for_pointers(content, tmp_path):
    torch.save(dict(content=content), tmp_path / 'crafted.pth')
    with pytest.raises(UserError, match=r'holds more than weights and plain data \(numpy\.(dtype|ndarray)\)'):
        load_checkpoint(str(tmp_path / 'crafted.pth'))


@pytest.mark.parametrize('shape', [(2,), (-1, -1), (2**40,), (1, 2, 3)])
def test_an_array_is_as_large_as_its_content(shape, tmp_path):
    torch.save(array_of(np.dtype('f8'), b'\1' * 8, shape), tmp_path / 'crafted.pth')
    with pytest.raises((TypeError, ValueError)):
        load_checkpoint(str(tmp_path / 'crafted.pth'))


def test_a_dtype_is_no_more_than_name_and_byte_order(tmp_path):
    """All other state of a history in the file is ignored."""
    content = array_of(Says(np.dtype, ('f8', False, True), FLAGS), np.full(1, 2.5).tobytes())
    torch.save(content, tmp_path / 'crafted.pth')
    loaded = load_checkpoint(str(tmp_path / 'crafted.pth'))
    assert (loaded.tolist(), loaded.dtype, loaded.dtype.flags) == ([2.5], np.dtype('f8'), 0)


def test_a_file_cannot_change_the_methods_of_all_histories(tmp_path, monkeypatch):
    history, before = HistoryBuffer([1.0, 3.0], [1, 1]), dict(HistoryBuffer._statistics_methods)
    with monkeypatch.context() as context:
        context.setattr(HistoryBuffer, '_statistics_methods', dict(mean=HistoryBuffer.max, more=HistoryBuffer.update))
        torch.save(history, tmp_path / 'crafted.pth')
    loaded = load_checkpoint(str(tmp_path / 'crafted.pth'))
    assert HistoryBuffer._statistics_methods == before
    assert loaded.statistics('mean') == 2.0


def test_what_a_file_names_many_times_is_read_once(tmp_path):
    content = [np.arange(3)]
    for _ in range(40):
        content = [content, content]
    torch.save((content, content), tmp_path / 'deep.pth')
    first, second = load_checkpoint(str(tmp_path / 'deep.pth'))
    assert first is second


def test_what_would_fill_the_memory_is_not_unpacked(tmp_path, monkeypatch):
    torch.save(dict(weight=torch.zeros(10**6)), tmp_path / 'weights.pth')
    with zipfile.ZipFile(tmp_path / 'weights.pth') as whole, zipfile.ZipFile(tmp_path / 'bomb.pth', 'w') as packed:
        for part in whole.infolist():
            packed.writestr(part.filename, whole.read(part), zipfile.ZIP_DEFLATED)
    monkeypatch.setattr(torch, 'load', lambda *_, **__: pytest.fail('it was unpacked'))
    monkeypatch.setattr(zipfile.ZipFile, 'testzip', lambda *_: pytest.fail('it was unpacked'))
    with pytest.raises(UserError, match=r'bomb\.pth grows to many times its size'):
        load_checkpoint(str(tmp_path / 'bomb.pth'))
    assert not is_whole(tmp_path / 'bomb.pth')


def test_what_mmengine_s_checkpoints_hold_is_harmless(tmp_path, caplog):
    history = HistoryBuffer()
    history.update(1.0)
    arrays = [
        *(np.arange(3), np.ones(2, np.float32), np.array(['a', 'b']), np.array([True]), np.zeros((0, 2), np.uint8)),
        *(np.arange(6.0).reshape(2, 3).T, np.array([1, 2], '>i4'), np.array([[None, 1], ['a', (2,)]], object).T),
    ]
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
        assert (copy.shape, copy.dtype, type(copy)) == (array.shape, array.dtype, np.ndarray)
        assert copy.flags.writeable
    assert loaded['mmkd']['random'] == content['mmkd']['random']


def test_arrays_of_the_other_numpy_s_names(tmp_path):
    """Numpy 2 names its module numpy._core, numpy 1 numpy.core."""
    file = tmp_path / 'old.pth'
    torch.save(dict(array=np.arange(3)), file, _use_new_zipfile_serialization=False)
    old, new = b'numpy.core.multiarray', b'numpy._core.multiarray'
    content = file.read_bytes()
    file.write_bytes(content.replace(new, old) if new in content else content.replace(old, new))
    assert load_checkpoint(str(file))['array'].tolist() == [0, 1, 2]


def test_a_damaged_file_is_no_matter_of_trust(tmp_path):
    (tmp_path / 'text.pth').write_text('<html>404</html>')
    with pytest.raises(pickle.UnpicklingError, match='damaged, or no checkpoint of torch: '):
        load_checkpoint(str(tmp_path / 'text.pth'))


@pytest.mark.parametrize('content', [dict(weight=1), Evil('made')])
def test_torch_s_advice_to_load_anything_is_not_handed_on(tmp_path, content):
    (tmp_path / 'foreign.pth').write_bytes(pickle.dumps(content, protocol=4))
    with pytest.raises((pickle.UnpicklingError, UserError)) as raised:
        load_checkpoint(str(tmp_path / 'foreign.pth'))
    assert 'weights_only' not in str(raised.value)
