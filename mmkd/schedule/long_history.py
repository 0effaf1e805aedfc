"""A history of scalars to which a value is added in the same time, however long it is."""

import numpy as np
from mmengine.logging import HistoryBuffer

MOST = 1000  # number of values that wait at most


class LongHistory(HistoryBuffer):
    """mmengine's history, but new values wait in a list until somebody reads more than the last one.

    mmengine's own copies all values to add one: after 200,000 iterations that takes 0.7 ms, for each scalar that is
    logged, in each iteration. Values, statistics and what is saved are mmengine's own.
    """

    _logs: np.ndarray
    _counts: np.ndarray
    _waiting: list[tuple[float, float]]

    @classmethod
    def of(cls, history: HistoryBuffer) -> 'LongHistory':
        """The same values, with room for more."""
        return history if isinstance(history, cls) else cls(*history.data, history.max_length)

    def update(self, log_val: float, count: float = 1) -> None:
        """Add a value."""
        if not (isinstance(log_val, int | float) and isinstance(count, int | float)):
            super().update(log_val, count)  # raises mmengine's error
        self._waiting.append((log_val, count))
        if len(self._waiting) >= MOST:
            self._settle()

    def current(self) -> float:
        """The last value; timers ask for theirs in each iteration."""
        return self._waiting[-1][0] if self._waiting else super().current()

    def _settle(self) -> None:
        if self._waiting:
            logs, counts = zip(*self._waiting)
            self._logs = np.append(self._logs, logs)[-self.max_length :]
            self._counts = np.append(self._counts, counts)[-self.max_length :]
            self._waiting = []

    @property
    def _log_history(self) -> np.ndarray:
        self._settle()
        return self._logs

    @_log_history.setter
    def _log_history(self, values: np.ndarray) -> None:
        self._logs, self._waiting = values, []

    @property
    def _count_history(self) -> np.ndarray:
        self._settle()
        return self._counts

    @_count_history.setter
    def _count_history(self, values: np.ndarray) -> None:
        self._counts = values

    def __deepcopy__(self, memo: dict) -> HistoryBuffer:
        """Checkpoints are made of copies; they hold mmengine's own class."""
        return HistoryBuffer(*self.data, self.max_length)
