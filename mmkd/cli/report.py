"""Writes one HTML file about runs."""

from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path

from mmkd.checkpoints.atomic_files import check_folder, put_whole
from mmkd.cli.whole_numbers import WholeNumber
from mmkd.errors import UserError, in_one_line
from mmkd.reporting.groups import check_same_data, group_runs, name_apart
from mmkd.reporting.measuring import measured_sections
from mmkd.reporting.page import page
from mmkd.reporting.run import read_run

IMAGES = 200


def main() -> None:
    """Report as the command line says."""
    args = _parse()
    out = args.out or Path(args.work_dirs[0], 'report.html')
    out = write_report(args.work_dirs, out, args.images, args.names)
    print(f'The report is {out}; open it in a browser.')


def write_report(
    work_dirs: Sequence[str | Path], out: str | Path, images: int = IMAGES, names: Sequence[str] | None = None
) -> Path:
    """Write the report of some runs.

    Args:
        work_dirs: Of the runs; of a running one, too.
        out: The HTML file.
        images: From the validation set, on which to measure checkpoints; with 0 only logs are read.
        names: Of the runs; by default those of their folders.
    """
    out = Path(out).expanduser()
    if out.suffix not in ('.html', '.htm'):
        raise UserError(f'--out: {out} must end with .html.')
    folders = list(dict.fromkeys(map(str, work_dirs)))
    if names is not None and (len(names) != len(folders) or len(set(names)) != len(names)):
        raise UserError(f'--names: {len(folders)} names are needed, one for each work dir, no two of them the same.')
    runs = [read_run(folder) for folder in folders]
    if names is None:
        name_apart(runs)
    else:
        for run, name in zip(runs, names):
            run.name = name
    check_same_data(runs)
    check_folder('--out', out.parent, 'name another file')
    groups = group_runs(runs)
    text = page(groups, measured_sections(groups, images))
    try:
        put_whole(out, text.encode())
    except OSError as error:
        raise UserError(f'--out: {out} cannot be written ({in_one_line(error)}); name another file.') from error
    return out


def _parse() -> Namespace:
    parser = ArgumentParser(description='Write one HTML file about runs, also while they are going on.')
    parser.add_argument('work_dirs', nargs='+', metavar='WORK_DIR', help='the work dir of a run')
    parser.add_argument('--out', metavar='FILE.html', help='the file to write [report.html in the first work dir]')
    parser.add_argument('--names', nargs='+', metavar='NAME', help="of the runs [their folders' names]")
    parser.add_argument(
        '--images',
        action=WholeNumber,
        least=0,
        default=IMAGES,
        metavar='N',
        help=f'validation images on which the last checkpoints are measured, 0 for none [{IMAGES}]',
    )
    return parser.parse_args()
