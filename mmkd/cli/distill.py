"""Writes the config of a distillation, and trains it."""

import shlex
import sys
from argparse import ArgumentParser, Namespace
from dataclasses import replace
from pathlib import Path

from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmkd.checkpoints.atomic_files import put_whole
from mmkd.cli import checks, train
from mmkd.cli.dry_run import plan
from mmkd.cli.short_config import METHODS, ShortConfig
from mmkd.cli.stretching import stretch
from mmkd.cli.unlabelled_folder import OPTIONS, check_folder, loader_text
from mmkd.cli.whole_numbers import WholeNumber
from mmkd.errors import UserError, did_you_mean, in_one_line
from mmkd.teacher.network import teacher_config
from mmkd.utils.configs import find_config, load_config


def main() -> None:
    """Distil as the command line says."""
    words = sys.argv[1:]
    cut = words.index('--') if '--' in words else len(words)
    args, flags = _parse(words[:cut]), words[cut + 1 :]
    teacher, checkpoint = args.teacher
    config = ShortConfig(args.method, args.student, teacher, checkpoint, args.epochs)
    student = check(config)
    if args.epochs not in (None, student.train_cfg.get('max_epochs')):
        policy = stretch(student.get('param_scheduler'), student.train_cfg.max_epochs, args.epochs)
        config = replace(config, schedulers=policy)
    if args.unlabelled is not None:
        check_folder(args.unlabelled, args.student, student)
        more = loader_text(args.unlabelled, student)
        config = replace(config, options=OPTIONS.get(args.method, ()), more=more)
    out = Path(args.out or config.file_name).expanduser()
    text = config.text(out.parent)
    if args.dry_run:
        print(f'{out} would be:\n\n{text}', flush=True)
        print(plan(config, flags))
        return
    is_new = write(out, text)
    sys.argv = ['mmkd train', str(out), *flags]
    planned = _Planned(f'The config is {out}; the training is: mmkd {shlex.join(["train", str(out), *flags])}')
    try:
        with train.prepared(train.parse()) as runner:
            runner.register_hook(planned)
            runner.train()
    except BaseException:
        if is_new and not planned.done:
            out.unlink(missing_ok=True)
        raise


def check(config: ShortConfig) -> Config:
    """Find the mistakes of the command line before anything is written; return the student's config."""
    student = load_config(config.student)
    if Config._is_lazy_import(str(find_config(config.student))):
        raise UserError(
            f'config {config.student}: it is a lazy config (with read_base), which no config with _base_ can inherit; '
            'write its distillation like those that `mmkd configs sskd lazy` lists.'
        )
    checks.check_keys(student, checks.TRAINING_KEYS, 'training')
    if 'student' in student.model:
        raise UserError(
            f'config {config.student}: it is a distillation, not a student alone; train it: mmkd train '
            f'{config.student}, or name the config of its student.'
        )
    if config.epochs is not None and 'max_epochs' not in student.train_cfg:
        raise UserError(
            f'--epochs: {config.student} counts iterations; leave it out, and end the command with '
            '-- --cfg-options train_cfg.max_iters=N.'
        )
    teacher_config(config.teacher)
    checks.check_checkpoint('--teacher', config.checkpoint, config.teacher)
    return student


class _Planned(Hook):
    """Tells when the config has passed all checks, and how to train it again."""

    priority = 'LOWEST'

    def __init__(self, said: str):
        self.said, self.done = said, False

    def before_run(self, runner: Runner) -> None:
        """All other hooks have planned."""
        self.done = True
        print(self.said, flush=True)


def write(out: Path, text: str) -> bool:
    """Write the config, unless the same one exists; returns whether it is new."""
    if out.suffix != '.py':
        raise UserError(f'--out: {out} must end with .py.')
    try:
        if out.exists() and out.read_text() != text:
            raise UserError(f'--out: {out} is there already, with another content; name another file, or delete it.')
        is_new = not out.exists()
        put_whole(out, text.encode())
    except OSError as error:
        raise UserError(f'--out: {out} cannot be written ({in_one_line(error)}); name another file.') from error
    return is_new


def _parse(words: list[str]) -> Namespace:
    parser = ArgumentParser(
        description="Write the config of a distillation, three statements on top of the student's own, and train it.",
        epilog='What follows -- are flags of mmkd train, e.g. -- --work-dir DIR --cfg-options KEY=VALUE.',
    )
    parser.add_argument('student', metavar='STUDENT_CONFIG', help='its own config: a file, or package::path')
    parser.add_argument(
        '--teacher', nargs=2, required=True, metavar=('CONFIG', 'CHECKPOINT'), help='its config, and a file or a URL'
    )
    parser.add_argument('--method', type=_method, default='sskd', help=f'{", ".join(METHODS)} [sskd]')
    parser.add_argument(
        '--epochs', action=WholeNumber, metavar='N', help="of the training; its policy is stretched [the student's]"
    )
    parser.add_argument(
        '--unlabelled', metavar='FOLDER', help='images without labels, from which a classifier learns too'
    )
    parser.add_argument('--out', metavar='FILE.py', help='the config to write [METHOD_TEACHER_STUDENT.py]')
    parser.add_argument(
        '--dry-run', action='store_true', help='build both networks, tell what would be learned when, and stop'
    )
    return parser.parse_args(words)


def _method(name: str) -> str:
    if name.lower() not in METHODS:
        near = did_you_mean(name, METHODS)
        raise UserError(f'--method: there is no {name}; it is one of {", ".join(METHODS)}.{near}')
    return name.lower()
