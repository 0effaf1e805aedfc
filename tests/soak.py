"""The table of the faults that were tried, and the runs that survived them."""

import datetime
import os
import platform
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.conftest import ROOT

BEGIN, END = '<!-- written by make soak -->', '<!-- end -->'


@dataclass
class Outcome:
    survived: bool = False
    repeated: int = 0


@dataclass
class Soak:
    """Counts outcomes by fault, and writes them into a page after each one, if there is a page.

    Args:
        page: With the marks between which the table goes.
        outcomes: By name of the fault.
    """

    page: str | None = None
    outcomes: dict[str, list[Outcome]] = field(default_factory=dict)

    @contextmanager
    def tries(self, fault: str) -> Iterator[Outcome]:
        """Count a survival if nothing is raised inside."""
        outcome = Outcome()
        self.outcomes.setdefault(fault, []).append(outcome)
        try:
            yield outcome
            outcome.survived = True
        finally:
            if self.page:
                self.write(Path(self.page))

    def table(self) -> str:
        lines = ['| Fault | Tried | Survived | Done again, at most |', '|---|---|---|---|']
        for fault, outcomes in self.outcomes.items():
            most = max(outcome.repeated for outcome in outcomes)
            again = 'nothing' if most <= 0 else f'{most} iteration{"s" * (most > 1)}'
            lines.append(f'| {fault} | {len(outcomes)} | {sum(o.survived for o in outcomes)} | {again} |')
        return '\n'.join(lines)

    def write(self, path: str) -> None:
        """Put the table into the page in place of the old one."""
        page = Path(path).read_text()
        before, _, rest = page.partition(BEGIN)
        Path(path).write_text(
            f'{before}{BEGIN}\n\n{self.table()}\n\n{_circumstances()}\n\n{END}{rest.partition(END)[2]}'
        )


def _circumstances() -> str:
    import mmengine
    import torch

    commit = subprocess.run(
        ['git', 'rev-parse', '--short', 'HEAD'], cwd=ROOT, capture_output=True, text=True, timeout=60
    ).stdout.strip()
    return (
        f'{datetime.date.today()}, commit {commit}, CPU ({platform.machine()}, {os.cpu_count()} cores), '
        f'Python {platform.python_version()}, torch {torch.__version__}, mmengine {mmengine.__version__}.'
    )
