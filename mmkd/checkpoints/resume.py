"""Finds the checkpoint from which a run resumes."""

import os
from fnmatch import fnmatchcase
from glob import escape
from pathlib import Path, PurePath
from string import Formatter

from mmkd.checkpoints.atomic_files import is_whole
from mmkd.errors import UserError

POINTER = 'last_checkpoint'  # mmengine's name for the file in the work dir that says where to go on
INTERRUPTED = 'interrupted.pth'  # written at a signal
NAMES = ('epoch_*.pth', 'iter_*.pth', INTERRUPTED)  # best_*.pth contain no optimizer
TEMPLATE = 'default_hooks.checkpoint.filename_tmpl'


def find_checkpoints(work_dir: str, out_dir: str | None = None, template: str | None = None) -> list[str]:
    """The checkpoints to resume from: the one that ``last_checkpoint`` names, then the others, newest first.

    Only those in the run's own folders: of the path in ``last_checkpoint`` only the name counts, since a copied or
    moved work dir still points into the original.

    Args:
        work_dir: Of the run.
        out_dir: Of its checkpoint hook.
        template: File names of its checkpoint hook, where they are not the usual ones.
    """
    folders = dict.fromkeys((Path(work_dir), Path(out_dir or work_dir, PurePath(os.path.abspath(work_dir)).name)))
    names = {*NAMES, *([_pattern(template)] if template else [])}
    found = {file for folder in folders for name in names for file in folder.glob(name) if _holds_something(file)}
    newest_first = sorted(found, key=lambda file: file.stat().st_mtime_ns, reverse=True)
    pointed = _pointed_at(work_dir)
    if '://' in str(out_dir) and pointed.startswith(str(out_dir)):  # not on a local disk
        return [pointed, *map(str, newest_first)]
    name = PurePath(pointed).name
    if any(fnmatchcase(name, pattern) for pattern in names):
        last = next((file for file in newest_first if file.name == name), Path(work_dir, name))  # or it is gone
        newest_first = list(dict.fromkeys([last, *newest_first]))
    return [str(file) for file in newest_first]


def check_template(template: str) -> None:
    """Check that the checkpoint hook's ``filename_tmpl`` can be filled in."""
    try:
        template.format(1)
    except (ValueError, LookupError, AttributeError) as error:
        raise UserError(
            f"{TEMPLATE}: it must be a file name such as 'epoch_{{}}.pth', not {template!r} ({error})."
        ) from error


def _pattern(template: str) -> str:
    """A pattern for the file names that a template makes."""
    check_template(template)
    parts = Formatter().parse(template)
    return ''.join(escape(text) + ('' if field is None else '*') for text, field, _, _ in parts)


def _pointed_at(work_dir: str) -> str:
    """The content of ``last_checkpoint``, '' if there is none; it may be any bytes."""
    pointer = Path(work_dir, POINTER)
    return os.fsdecode(pointer.read_bytes()).strip() if pointer.is_file() else ''


def _holds_something(path: Path) -> bool:
    """Whether it is a file, or a folder with files, which deepspeed writes; broken links are neither."""
    return path.is_file() or (path.is_dir() and any(path.iterdir()))


def choose_whole(checkpoints: list[str]) -> tuple[str, list[str]]:
    """The first undamaged one, and the damaged ones before it."""
    for index, checkpoint in enumerate(checkpoints):
        if '://' in checkpoint or Path(checkpoint).is_dir() or is_whole(checkpoint):  # only files are checked
            return checkpoint, checkpoints[:index]
    more = f' and {len(checkpoints) - 3} more' if len(checkpoints) > 3 else ''
    raise UserError(
        f'--resume: none of the checkpoints is whole ({", ".join(checkpoints[:3])}{more}); get a good copy '
        'of one of them, or start anew without --resume.'
    )


def check_named(checkpoint: str) -> None:
    """Check that a checkpoint named by the user is complete."""
    file = Path(checkpoint).expanduser()
    if '://' not in checkpoint and file.is_file() and not is_whole(file):
        others = [other for other in find_checkpoints(str(file.parent)) if is_whole(other)]
        cure = f'resume from {others[0]}' if others else 'get a good copy of it'
        raise UserError(f'--resume: {checkpoint} is damaged; {cure}.')
