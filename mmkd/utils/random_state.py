"""Saves, restores and isolates random states."""

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from mmengine.runner import EpochBasedTrainLoop, Runner


def get_random_state() -> dict:
    """The states of torch, its current GPU, numpy and ``random``.

    Plain numbers, no tensors or arrays: loading a checkpoint would move tensors to the GPU, and torch's safe unpickler
    rejects arrays.
    """
    return dict(
        torch=torch.get_rng_state().tolist(),
        cuda=torch.cuda.get_rng_state().tolist() if torch.cuda.is_initialized() else None,
        numpy=tuple(part.tolist() if isinstance(part, np.ndarray) else part for part in np.random.get_state()),
        python=random.getstate(),
    )


def set_random_state(state: dict) -> None:
    """Restore a state."""
    torch.set_rng_state(torch.tensor(state['torch'], dtype=torch.uint8))
    if state['cuda']:
        torch.cuda.set_rng_state(torch.tensor(state['cuda'], dtype=torch.uint8))
    np.random.set_state(state['numpy'])
    random.setstate(state['python'])


@contextmanager
def own_randomness() -> Iterator[None]:
    """Restore the random state afterwards."""
    state = get_random_state()
    try:
        yield
    finally:
        set_random_state(state)


def state_for_resume(runner: Runner, checkpoint: dict) -> dict:
    """The random state for a checkpoint about to be saved: before its validation, or after it for a new best."""
    unit = _unit(runner)
    return dict(get_random_state(), validated=checkpoint['meta'][unit] == getattr(runner, unit))


def resume_randomness(runner: Runner, state: dict) -> None:
    """Continue with the random numbers of :func:`state_for_resume`, as if the run had not been interrupted.

    If an uninterrupted run validates between saving and the next batch, it draws one number: each new data loader
    iterator draws its seed from torch's global generator. In iteration loops a resumed run makes a new training
    iterator, whose draw the uninterrupted run never made, so there the state is set after that iterator is made.
    """
    loop, unit = runner.train_loop, _unit(runner)
    loop._decide_current_val_interval()
    done = getattr(loop, unit)
    validates = runner.val_loop is not None and done >= loop.val_begin and done % loop.val_interval == 0
    draws = validates and not state['validated']
    if unit == 'epoch':
        _set_after_validation(state, draws)
    else:
        # OpenMMLab's own mmengine skips what is learned already batch by batch
        skips = 0 if hasattr(loop.dataloader_iterator, 'skip_iter') else done
        loop.dataloader_iterator = _RestoredIterator(loop.dataloader_iterator, state, draws, skips)


def _unit(runner: Runner) -> str:
    return 'epoch' if isinstance(runner.train_loop, EpochBasedTrainLoop) else 'iter'


def _set_after_validation(state: dict, draws: bool) -> None:
    set_random_state(state)
    if draws:
        torch.empty((), dtype=torch.int64).random_()


class _RestoredIterator:
    """A training iterator that sets the random state directly before the first batch that is not skipped."""

    def __init__(self, iterator, state: dict, draws: bool, skips: int):
        self.iterator = iterator
        self.restore = (state, draws)
        self.skips = skips

    def __getattr__(self, name: str):
        return getattr(self.iterator, name)

    def __next__(self):
        if self.skips == 0:
            getattr(self.iterator, '_ensure_iterator', lambda: None)()  # some versions create it only now
            _set_after_validation(*self.restore)
        self.skips -= 1
        return next(self.iterator)
