"""Checkpoints by URL, from a server in this process."""

import functools
import hashlib
import http.server
import io
import threading

import pytest
import torch

from mmkd.checkpoints import downloads
from mmkd.checkpoints.safe_load import load_checkpoint
from mmkd.errors import UserError


def packed(number: float, **options) -> bytes:
    content = io.BytesIO()
    torch.save(dict(weight=torch.full((100,), number)), content, **options)
    return content.getvalue()


class Handler(http.server.BaseHTTPRequestHandler):
    """Sends what the server's dict has under the path, cut off after ``ends_after`` bytes if that is set."""

    def do_GET(self):
        server = self.server
        server.asked.append(self.path)
        content = server.files[self.path]
        self.send_response(200)
        self.send_header('Content-Length', len(content))
        self.end_headers()
        self.wfile.write(content[: server.ends_after])
        self.wfile.flush()
        while server.trickles and not server.stop.wait(0.05):
            self.wfile.write(b'x')
        server.stalls and server.stop.wait(20)

    def log_message(self, *args):
        pass


@pytest.fixture
def server(monkeypatch, tmp_path):
    """A server with files, and an empty cache."""
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'home'))
    with http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler) as server:
        server.daemon_threads = True
        server.files, server.asked, server.stop = {}, [], threading.Event()
        server.ends_after, server.trickles, server.stalls = None, False, False
        server.url = f'http://127.0.0.1:{server.server_port}'
        thread = threading.Thread(target=functools.partial(server.serve_forever, poll_interval=0.01), daemon=True)
        thread.start()
        yield server
        server.stop.set()
        server.shutdown()
        thread.join(20)


def weight(url: str) -> float:
    return load_checkpoint(url, logger='silent')['weight'][0].item()


def cached(tmp_path) -> list:
    return [path for path in (tmp_path / 'home').rglob('*') if path.is_file()]


def test_files_of_one_name_are_kept_apart(server):
    server.files = {'/run_a/same.pth': packed(1), '/run_b/same.pth': packed(2), '/run_b/same.pth?of=3': packed(3)}
    for _ in range(2):
        assert [weight(server.url + path) for path in server.files] == [1, 2, 3]
    assert server.asked == list(server.files)  # each file is fetched once


def test_what_others_put_into_the_cache_is_taken_if_its_name_tells_its_content(server, tmp_path):
    folder = tmp_path / 'home' / 'hub' / 'checkpoints'
    folder.mkdir(parents=True)
    right = f'net-{hashlib.sha256(packed(1)).hexdigest()[:8]}.pth'
    (folder / right).write_bytes(packed(1))
    (folder / 'net-0a1b2c3d.pth').write_bytes(packed(1))
    server.files = {f'/{right}': packed(5), '/net-0a1b2c3d.pth': packed(2)}
    assert [weight(server.url + path) for path in server.files] == [1, 2]
    assert server.asked == ['/net-0a1b2c3d.pth']


@pytest.mark.parametrize('legacy', [False, True])
def test_a_download_that_is_cut_off_leaves_nothing(server, tmp_path, legacy):
    server.files = {'/net.pth': packed(1, _use_new_zipfile_serialization=not legacy)}
    server.ends_after = 200
    with pytest.raises(UserError, match=r'net\.pth cannot be downloaded \(OSError: it ended after 200 of .* bytes\);'):
        weight(server.url + '/net.pth')
    assert not cached(tmp_path)
    server.ends_after = None
    assert weight(server.url + '/net.pth') == 1


def test_what_came_damaged_is_not_kept(server, tmp_path):
    server.files = {'/net.pth': packed(1)[:-30]}
    with pytest.raises(UserError, match='what came is damaged'):
        weight(server.url + '/net.pth')
    assert not cached(tmp_path)


@pytest.mark.parametrize(('kind', 'reason'), [('trickles', 'the server sent'), ('stalls', 'TimeoutError')])
def test_a_server_that_sends_hardly_anything_is_left(server, tmp_path, monkeypatch, kind, reason):
    monkeypatch.setattr(downloads, 'PATIENCE', 0.3)
    server.files, server.ends_after = {'/net.pth': packed(1)}, 100
    setattr(server, kind, True)
    with pytest.raises(UserError, match=f'cannot be downloaded .*{reason}'):
        weight(server.url + '/net.pth')
    assert not cached(tmp_path)


def test_a_server_that_is_not_there(server, tmp_path):
    server.shutdown()
    server.server_close()
    with pytest.raises(UserError, match=r'cannot be downloaded .*refused'):
        weight(server.url + '/net.pth')
    assert not cached(tmp_path)
