"""Writes one HTML file about runs."""

from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path

from mmkd.checkpoints.atomic_files import put_whole
from mmkd.errors import UserError, in_one_line
from mmkd.reporting.groups import check_same_data, group_runs, name_apart
from mmkd.reporting.page import page
from mmkd.reporting.run import read_run


def main() -> None:
    """Report as the command line says."""
    args = _parse()
    out = write_report(args.work_dirs, args.out or Path(args.work_dirs[0], 'report.html'), args.images)
    print(f'The report is {out}; open it in a browser.')


def write_report(work_dirs: Sequence[str | Path], out: str | Path, images: int = 0) -> Path:
    """Write the report of some runs.

    Args:
        work_dirs: Of the runs; of a running one, too.
        out: The HTML file.
        images: From the validation set, on which to measure checkpoints; with 0 only logs are read.
    """
    out = Path(out).expanduser()
    if out.suffix not in ('.html', '.htm'):
        raise UserError(f'--out: {out} must end with .html.')
    runs = [read_run(work_dir) for work_dir in dict.fromkeys(map(str, work_dirs))]
    name_apart(runs)
    check_same_data(runs)
    text = page(group_runs(runs), [])
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        put_whole(out, text.encode())
    except OSError as error:
        raise UserError(f'--out: {out} cannot be written ({in_one_line(error)}); name another file.') from error
    return out


def _parse() -> Namespace:
    parser = ArgumentParser(description='Write one HTML file about runs, also while they are going on.')
    parser.add_argument('work_dirs', nargs='+', metavar='WORK_DIR', help='the work dir of a run')
    parser.add_argument('--out', metavar='FILE.html', help='the file to write [report.html in the first work dir]')
    parser.add_argument('--images', type=int, default=0, metavar='N')
    return parser.parse_args()
