"""From which checkpoint a run goes on."""

from pathlib import Path

from mmkd.errors import UserError
from mmkd.whole_files import is_whole

POINTER = 'last_checkpoint'  # mmengine's name for the file in the work dir that says where to go on
INTERRUPTED = 'interrupted.pth'  # what a signal left behind
NAMES = ('epoch_*.pth', 'iter_*.pth', INTERRUPTED)  # best_*.pth hold no optimizer


def find_checkpoints(work_dir: str, out_dir: str | None = None, template: str | None = None) -> list[str]:
    """What a run may go on from: the checkpoint that it was pointed to, then the others, newest first.

    Args:
        work_dir: Of the run.
        out_dir: Of its checkpoint hook.
        template: File names of its checkpoint hook, where they are not the usual ones.
    """
    pointer = Path(work_dir, POINTER)
    named = pointer.read_text().strip() if pointer.is_file() else ''
    folders = {Path(work_dir), Path(out_dir or work_dir, Path(work_dir).name)}
    names = {*NAMES, (template or NAMES[0]).format('*')}
    files = {file for folder in folders for name in names for file in folder.glob(name)}
    newest_first = sorted(files, key=lambda file: file.stat().st_mtime_ns, reverse=True)
    return list(dict.fromkeys([*filter(None, [named]), *map(str, newest_first)]))


def choose_whole(checkpoints: list[str]) -> tuple[str, list[str]]:
    """The first that is whole, and those before it, which are not."""
    for index, checkpoint in enumerate(checkpoints):
        if (
            '://' in checkpoint or Path(checkpoint).is_dir() or is_whole(checkpoint)
        ):  # what is no file is not looked into
            return checkpoint, checkpoints[:index]
    more = f' and {len(checkpoints) - 3} more' if len(checkpoints) > 3 else ''
    raise UserError(
        f'--resume: none of the checkpoints is whole ({", ".join(checkpoints[:3])}{more}); get a good copy '
        'of one of them, or start anew without --resume.'
    )


def check_named(checkpoint: str) -> None:
    """A checkpoint that the user named is whole."""
    file = Path(checkpoint).expanduser()
    if '://' not in checkpoint and file.is_file() and not is_whole(file):
        others = [other for other in find_checkpoints(str(file.parent)) if is_whole(other)]
        cure = f'resume from {others[0]}' if others else 'get a good copy of it'
        raise UserError(f'--resume: {checkpoint} is damaged; {cure}.')
