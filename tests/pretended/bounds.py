"""What an iteration of each phase may ask of a GPU: bounds for the tests, in bounds.md, written by make counts."""

import os
from pathlib import Path

from tests.pretended.counting import Counted

BEGIN, END = '<!-- written by make counts -->', '<!-- counts: end -->'
HEAD = [
    '| | Launches, before | Now | Waits, before | Now | Blocking copies, before | Now |',
    '|---|---|---|---|---|---|---|',
]
PAGE = Path(__file__).with_name('bounds.md')
WRITES = bool(os.environ.get('MMKD_COUNTS'))


def rows() -> dict[str, list[int]]:
    """The numbers on the page, by case and phase."""
    table = PAGE.read_text().partition(BEGIN)[2].partition(END)[0].strip().splitlines()
    cells = [line.strip('| ').split(' | ') for line in table[2:]]
    return {name: [int(cell.replace(',', '')) for cell in rest] for name, *rest in cells}


def compare(case: str, phases: dict[str, Counted]) -> None:
    """Check that no phase exceeds the page's numbers, or write them. A new row starts with the current numbers."""
    known = rows()
    for name, counted in phases.items():
        row = f'{case}: {name}'
        if WRITES:
            before = known.get(row, [n for n in counted.row for _ in range(2)])[::2]
            known[row] = [n for pair in zip(before, counted.row) for n in pair]
        else:
            assert row in known, f'{row} is not in {PAGE}; run make counts'
            launches, waits, blocking = known[row][1::2]
            # torch's versions differ by one or two operators
            assert counted.row[0] <= launches * 1.05 + 2, (row, counted.launches.most_common(20))
            assert counted.row[1] <= waits, (row, counted.waits)
            assert counted.row[2] <= blocking, (row, counted.blocking)
    if WRITES:
        _write(known)


def _write(known: dict[str, list[int]]) -> None:
    before, _, rest = PAGE.read_text().partition(BEGIN)
    lines = [*HEAD, *(f'| {row} | {" | ".join(f"{n:,}" for n in numbers)} |' for row, numbers in known.items())]
    PAGE.write_text('\n'.join([f'{before}{BEGIN}\n', *lines, f'\n{END}{rest.partition(END)[2]}']))
