"""Records work once and replays it: torch's CUDA graphs, and what a stand-in for them must do."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

import torch
from torch import Tensor


class Graph(Protocol):
    """Work that is recorded once and then replayed on the same tensors."""

    def warm_up(self) -> AbstractContextManager:
        """A context for the plain iterations before a capture."""

    def capture(self, work: Callable[[], list[Tensor]]) -> list[Tensor]:
        """Record work without running it, and return its output tensors."""

    def replay(self) -> None:
        """Run the recorded work."""


class CudaGraph:
    """A CUDA graph of torch."""

    def __init__(self) -> None:
        self.graph = torch.cuda.CUDAGraph()

    @contextmanager
    def warm_up(self) -> Iterator[None]:
        """Use another stream: a capture must not meet what autograd keeps of the usual one."""
        here, aside = torch.cuda.current_stream(), torch.cuda.Stream()
        aside.wait_stream(here)
        with torch.cuda.stream(aside):
            yield
        here.wait_stream(aside)

    def capture(self, work: Callable[[], list[Tensor]]) -> list[Tensor]:
        """Check this thread's calls only: the data loader's thread pins memory meanwhile."""
        with torch.cuda.graph(self.graph, capture_error_mode='thread_local'):
            return work()

    def replay(self) -> None:
        """Launch the whole graph."""
        self.graph.replay()
