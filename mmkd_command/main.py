"""Finds the subcommand and starts it."""

import signal
import sys
from difflib import get_close_matches
from importlib import import_module

COMMANDS = {
    'distill': "Write a distillation's config, of a student's and a teacher's, and train it.",
    'train': 'Train or distil what a config describes, as tools/train.py does.',
    'test': 'Evaluate a checkpoint, as tools/test.py does.',
    'compare': 'Compare trained networks: metric, size, speed, memory, agreement, calibration.',
    'report': 'Write one HTML file about runs: figures, curves, stages, cost.',
    'methods': 'List the methods and the losses, with a sentence each.',
    'configs': 'List the shipped configs, or those that have all words given.',
    'doctor': 'Tell what is installed, what is wrong or missing, and the command that mends it.',
}
LIGHT = {
    name: f'mmkd_command.{name}' for name in ('methods', 'configs', 'doctor')
}  # they work where mmkd cannot be imported


def main() -> None:
    """Run the subcommand on the command line."""
    name, *arguments = sys.argv[1:] or ['--help']
    if name in ('-h', '--help'):
        print(_usage())
        return
    if name not in COMMANDS:
        near = get_close_matches(name, COMMANDS, n=1, cutoff=0.5)
        sys.exit(
            f'error: mmkd {name}: there is no such command.'
            f'{f" Did you mean mmkd {near[0]}?" if near else " mmkd --help lists them."}'
        )
    sys.argv = [f'mmkd {name}', *arguments]
    if name in LIGHT:
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `mmkd configs | head` ends without a traceback
        import_module(LIGHT[name]).main()
    else:
        _run(f'mmkd.cli.{name}')


def _run(module: str) -> None:
    """Run a program of mmkd to its end, as the tools do."""
    try:
        import mmkd  # noqa: F401
    except ImportError as error:
        sys.exit(f'error: {error}')
    from mmkd.cli.program import run

    run(import_module(module).main)


def _usage() -> str:
    lines = [f'  {name:<9} {sentence}' for name, sentence in COMMANDS.items()]
    return '\n'.join(
        [
            'usage: mmkd COMMAND [arguments]',
            '',
            'Knowledge distillation for the OpenMMLab toolboxes, by config inheritance.',
            '',
            *lines,
            '',
            'mmkd COMMAND --help tells the arguments.',
        ]
    )
