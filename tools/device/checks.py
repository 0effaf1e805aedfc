#!/usr/bin/env python3
"""Run tests/device and write a line for each test as it ends."""

import os
import sys
from argparse import ArgumentParser
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / 'tools' / 'benchmark'))

from lines import Lines


class Recorder:
    """A plugin of pytest.

    Args:
        lines: Where the outcomes go.
    """

    def __init__(self, lines: Lines):
        self.lines = lines
        self.failed = 0

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep a test's outcome, and failures of its set-up or tear-down."""
        if report.when != 'call' and report.passed:
            return
        self.failed += report.failed
        told = {}
        if report.failed:
            told['error'] = _cause(report)
        elif report.skipped and isinstance(report.longrepr, tuple):
            told['reason'] = report.longrepr[2]
        name = report.nodeid.rpartition('::')[2]
        self.lines.add(test=name, outcome=report.outcome, seconds=round(report.duration, 2), **told)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """A file that cannot be imported counts as a failed test."""
        if report.failed:
            self.failed += 1
            self.lines.add(test=report.nodeid, outcome='failed', error=str(report.longrepr).splitlines()[-1][:300])


def _cause(report: pytest.TestReport) -> str:
    """The first line of the error, and the place where it was raised."""
    crash = getattr(report.longrepr, 'reprcrash', None)
    if crash is None:
        return str(report.longrepr).strip().splitlines()[-1][:300]
    return f'{crash.message.splitlines()[0][:300]} ({Path(crash.path).name}:{crash.lineno})'


def main() -> int:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument('--out', type=Path, required=True, help='folder for checks.jsonl')
    parser.add_argument('--workers', type=int, default=4, help='processes side by side, where pytest-xdist is [4]')
    parser.add_argument('--dry-run', action='store_true', help='on the CPU, each test once')
    args = parser.parse_args()
    if args.dry_run:
        os.environ['MMKD_DEVICE_DRY_RUN'] = '1'
    os.chdir(ROOT)
    options = ['tests/device', '-p', 'no:cacheprovider', '--tb=short', '-q', '-x' if args.dry_run else '--maxfail=1000']
    if args.workers > 1 and not args.dry_run:
        options += ['-n', str(args.workers)]
    recorder = Recorder(Lines(args.out.resolve() / 'checks.jsonl'))
    code = pytest.main(options, plugins=[recorder])
    return int(code or recorder.failed > 0)


if __name__ == '__main__':
    sys.exit(main())
