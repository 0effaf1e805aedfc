"""Programs in processes of their own, forked from one that has imported everything, so that each begins at once."""

import multiprocessing
import os
import runpy
import sys
from collections.abc import Callable, Iterable
from multiprocessing.process import BaseProcess
from pathlib import Path

CONTEXT = multiprocessing.get_context('forkserver')
OURS = ('distillers', 'hooks', 'datasets', 'losses', 'models', 'cli.train')
MODULES = ('models', 'datasets', 'engine', 'evaluation', 'visualization', 'structures', 'utils')
CONTEXT.set_forkserver_preload(
    [
        'tests.forked',
        *(f'mmkd.{module}' for module in OURS),
        'sklearn.datasets',
        *(f'{toolbox}.{module}' for toolbox in ('mmpretrain', 'mmdet') for module in MODULES),
    ]
)


def start(
    program: Path, args: Iterable, output: Path, first: Iterable[Callable[[], None]] = (), **environment: str
) -> BaseProcess:
    """Start a Python program; what it says is added to a file. Before it, call what is to come first."""
    words = [str(word) for word in args]
    process = CONTEXT.Process(target=_run, args=(str(program), words, str(output), tuple(first), environment))
    process.start()
    return process


def _run(program: str, args: list[str], output: str, first: tuple, environment: dict[str, str]) -> None:
    with open(output, 'ab', buffering=0) as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    os.environ.update(environment)
    for call in first:
        call()
    sys.argv = [Path(program).name, *args]
    runpy.run_path(program, run_name='__main__')
