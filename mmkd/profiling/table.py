"""From a profiler's events to a table of where the time goes."""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable
from itertools import pairwise
from typing import Any

from torch.autograd import DeviceType

PREFIX = 'mmkd: '  # prefix of the ranges' names
ASIDE = 'not counted'  # validation and saving, which do not belong to an iteration
STEP = 'ProfilerStep'  # torch's own range around an iteration
LOADER = 'enumerate(DataLoader)#'  # torch's own range around waiting for a batch


class Part:
    """The lines of the table."""

    TEACHER = 'teacher'
    FROZEN = 'frozen part, forward'
    TRAINED = 'trained part, forward'
    LOSSES = 'losses'
    BACKWARD = 'backward'
    OPTIMIZER = 'optimizer'
    PREPROCESSING = 'preprocessing'
    DATA = 'waiting for data'
    REST = 'rest (hooks and framework)'


ORDER = [value for name, value in vars(Part).items() if name.isupper()]


class Timeline:
    """Which part the training was in at what time, and for how long in each.

    At any moment one part runs: the innermost range around it. So the parts add up to the whole by themselves.

    Args:
        events: The profiler's, as its ``events()`` gives them; times are in microseconds.
    """

    def __init__(self, events: Iterable[Any]):
        on_host = [event for event in events if event.device_type == DeviceType.CPU]
        steps = [event for event in on_host if event.name.startswith(STEP)]
        self.iterations = len(steps)
        threads = {event.thread for event in steps}
        ranges = [event for event in on_host if event.thread in threads and _part(event.name)]
        self.starts: list[float] = []
        self.parts: list[str] = []  # since that start; '' between two iterations
        open_ranges: list[tuple[float, str]] = [(float('inf'), '')]
        for event in sorted(ranges, key=lambda event: (event.time_range.start, -event.time_range.end)):
            self._close(open_ranges, event.time_range.start)
            part = _part(event.name)
            if part == Part.DATA and open_ranges[-1][1] != Part.REST:  # of a validation
                part = open_ranges[-1][1]
            open_ranges.append((event.time_range.end, part))
            self._turn(event.time_range.start, part)
        self._close(open_ranges, float('inf'))
        self.seconds: dict[str, float] = defaultdict(float)
        for (start, end), part in zip(pairwise(self.starts), self.parts):
            self.seconds[part] += (end - start) / 1e6
        self.device_seconds: dict[str, float] = defaultdict(float)
        for event in on_host:  # an operator runs on the device later, but counts where it was called; on any thread,
            if event.kernels:  # for the gradient has its own, and meanwhile this one waits for it
                duration = sum(kernel.duration for kernel in event.kernels)
                self.device_seconds[self.at(event.time_range.start)] += duration / 1e6

    def at(self, time: float) -> str:
        """The part that was running at a time, '' for none."""
        index = bisect_right(self.starts, time) - 1
        return self.parts[index] if index >= 0 else ''

    def _turn(self, time: float, part: str) -> None:
        self.starts.append(time)
        self.parts.append(part)

    def _close(self, open_ranges: list[tuple[float, str]], time: float) -> None:
        """Close the ranges that end before a time."""
        while len(open_ranges) > 1 and open_ranges[-1][0] <= time:
            end, _ = open_ranges.pop()
            self._turn(end, open_ranges[-1][1])


def _part(name: str) -> str:
    """The part of a range, '' for ranges of others."""
    if name.startswith(PREFIX):
        return name.removeprefix(PREFIX)
    return Part.REST if name.startswith(STEP) else Part.DATA if name.startswith(LOADER) else ''


def table(title: str, timeline: Timeline, images: int) -> str:
    """The table for the log: the time per iteration of each part, and its share.

    Args:
        title: What was profiled.
        timeline: Its times.
        images: In all its iterations and processes; 0 if nobody knows.
    """
    parts = [part for part in ORDER if part in timeline.seconds]
    columns = [('s/iteration', timeline.seconds)]
    if timeline.device_seconds:
        columns.append(('on the device', timeline.device_seconds))
    width = max(map(len, ORDER))
    head, last = [f'  {"part":<{width}}'], [f'  {"all":<{width}}']
    lines = [[f'  {part:<{width}}'] for part in parts]
    for name, seconds in columns:
        total = sum(seconds[part] for part in parts)
        head.append(f'{name:>15}{"per cent":>10}')
        for line, part in [*zip(lines, parts), (last, None)]:
            value = total if part is None else seconds[part]
            line.append(f'{value / timeline.iterations:>15.5f}{100 * value / (total or 1):>10.1f}')
    total = sum(timeline.seconds[part] for part in parts)
    rate = f', {images / total:,.0f} images/s' if images else ''
    per_iteration = f'{total / timeline.iterations:.4g} s an iteration{rate}'
    return '\n'.join([f'{title}: {per_iteration}.', *(''.join(line) for line in [head, *lines, last])])
