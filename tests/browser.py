"""A page opened in headless Chromium: what is in it, what it asks for, what its console says, how it looks."""

import base64
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from select import select
from tempfile import TemporaryDirectory
from typing import Any

import pytest

CHROMIUM = next(
    (found for name in ('chromium', 'chromium-browser', 'google-chrome') if (found := shutil.which(name))), ''
)
needs_chromium = pytest.mark.skipif(not CHROMIUM, reason='there is no Chromium here (Debian: apt-get install chromium)')
LIMIT = 120  # seconds for a browser to answer


class Page:
    """An open page, driven by the DevTools protocol over two pipes."""

    def __init__(self, writer: int, reader: int):
        self.writer, self.reader = writer, reader
        self.session: str | None = None
        self.sent, self.rest = 0, b''
        self.requests: list[str] = []
        self.said: list[str] = []  # in the console: errors and warnings

    def open(self, url: str, width: int = 1280, scheme: str = 'light') -> None:
        """Load a page, of this width and colour scheme."""
        target = self.call('Target.createTarget', url='about:blank')['targetId']
        self.session = self.call('Target.attachToTarget', targetId=target, flatten=True)['sessionId']
        for domain in ('Page', 'Network', 'Runtime', 'Log'):
            self.call(f'{domain}.enable')
        self.look(width, scheme)
        self.call('Page.navigate', url=url)
        limit = time.monotonic() + LIMIT
        while self.value('document.readyState') != 'complete' or self.value('location.href') == 'about:blank':
            assert time.monotonic() < limit, f'{url} was not loaded'
            time.sleep(0.05)

    def look(self, width: int, scheme: str, height: int = 900) -> None:
        """Change the size and the colour scheme."""
        size = dict(width=width, height=height, deviceScaleFactor=1, mobile=width < 600)
        self.call('Emulation.setDeviceMetricsOverride', **size)
        self.call('Emulation.setEmulatedMedia', features=[dict(name='prefers-color-scheme', value=scheme)])

    def value(self, script: str) -> Any:
        """What JavaScript says."""
        result = self.call('Runtime.evaluate', expression=script, returnByValue=True, awaitPromise=True)
        assert 'exceptionDetails' not in result, result
        return result['result'].get('value')

    def picture(self, file: Path) -> None:
        """A picture of what is seen."""
        data = self.call('Page.captureScreenshot')['data']
        file.write_bytes(base64.b64decode(data))

    def call(self, method: str, **params: Any) -> dict:
        """Send a command, and wait for its answer."""
        self.sent += 1
        message = dict(id=self.sent, method=method, params=params)
        if self.session is not None:
            message['sessionId'] = self.session
        os.write(self.writer, json.dumps(message).encode() + b'\0')
        while True:
            answer = self._next()
            if answer.get('id') == self.sent:
                assert 'error' not in answer, answer
                return answer['result']
            self._hear(answer)

    def _hear(self, event: dict) -> None:
        params = event.get('params', {})
        kind = event.get('method')
        if kind == 'Network.requestWillBeSent':
            self.requests.append(params['request']['url'])
        elif kind == 'Runtime.exceptionThrown':
            self.said.append(str(params['exceptionDetails']))
        elif kind == 'Log.entryAdded':
            self.said.append(params['entry']['text'])
        elif kind == 'Runtime.consoleAPICalled' and params['type'] in ('error', 'warning', 'assert'):
            self.said.append(str(params['args']))

    def _next(self) -> dict:
        while b'\0' not in self.rest:
            assert select([self.reader], [], [], LIMIT)[0], 'Chromium does not answer'
            more = os.read(self.reader, 1 << 20)
            assert more, 'Chromium has ended'
            self.rest += more
        message, _, self.rest = self.rest.partition(b'\0')
        return json.loads(message)


@contextmanager
def browser() -> Iterator[Page]:
    """A browser with one page, without a network of its own."""
    commands, answers = os.pipe(), os.pipe()
    flags = ['--headless=new', '--no-sandbox', '--disable-gpu', '--no-first-run', '--disable-dev-shm-usage']
    flags += ['--disable-background-networking', '--disable-component-update', '--remote-debugging-pipe']
    with TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        # a browser reads its commands from 3 and answers at 4, numbers that a pipe of ours may have
        shell = f'exec "$0" "$@" 3<&{commands[0]} 4>&{answers[1]}'
        process = subprocess.Popen(
            ['/bin/bash', '-c', shell, CHROMIUM, *flags, f'--user-data-dir={folder}', 'about:blank'],
            pass_fds=(commands[0], answers[1]),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(commands[0])
        os.close(answers[1])
        try:
            yield Page(commands[1], answers[0])
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(20)
            os.close(commands[1])
            os.close(answers[0])
