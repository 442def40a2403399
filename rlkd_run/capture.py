"""Whole training steps that are captured once as a GPU's graph and then repeated.

A graph repeats operations on the same memory. So a step can be captured if everything that changes from step to step
stays in the same tensors, and what Python decides about its operations is the same again (`Situation.key`). Each kind
of step is captured once: of an agent's training epoch there is one for every filling of the rollout, and the one that
updates the agent is among them.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol
from weakref import WeakSet

import torch

from rlkd_run.config.run import RuntimeOptions
from rlkd_run.errors import in_a_line
from rlkd_run.protocol import Situation

Replay = Callable[[], None]

# Graphs whose capture broke off. Torch goes on asking each, at every allocation, whether the memory is for its capture:
# another graph that came to lie in its place would be asked instead, and say yes.
_BROKEN_OFF: list[torch.cuda.CUDAGraph] = []


class Recorder(Protocol):
    """How a device captures work."""

    def warm_up(self, work: Callable[[], None]) -> None:
        """Do the work as it is done ordinarily, where it will be captured later."""

    def record(self, work: Callable[[], None]) -> Replay:
        """Capture the work without doing it.

        Raises:
            RuntimeError: something in it cannot be captured.
        """


class CudaGraphs:
    """CUDA graphs that share the memory of what does not outlive a step.

    They may, in any order: whatever a step leaves behind lies in tensors that were there before it was captured.

    They are captured on the current stream, or on one of their own where that is the default one, which CUDA refuses.
    """

    def __init__(self, device: torch.device) -> None:
        current = torch.cuda.current_stream(device)
        beside = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._stream = beside if current == torch.cuda.default_stream(device) else current
        self._any = torch.zeros((), device=device)
        self._pool = torch.cuda.graph_pool_handle()
        self._graphs: WeakSet[torch.cuda.CUDAGraph] = WeakSet()

    def warm_up(self, work: Callable[[], None]) -> None:
        """On the stream of the captures, so that libraries and gradients settle there."""
        self._stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._stream):
            work()
        torch.cuda.current_stream().wait_stream(self._stream)

    def record(self, work: Callable[[], None]) -> Replay:
        """One graph."""
        if not self._graphs:  # a pool ends with its last graph, and cannot be taken up again
            self._pool = torch.cuda.graph_pool_handle()
        try:
            graph = self._capture(work, self._pool)
        except RuntimeError:
            # Where a capture has broken off, torch may go on taking its pool for one that is being filled, and before
            # 2.13 the generator for one that is under way, which refuses draws and replays until another one has come
            # to its end.
            self._pool = torch.cuda.graph_pool_handle()
            self._capture(lambda: self._any.zero_(), torch.cuda.graph_pool_handle())
            raise
        self._graphs.add(graph)
        replay: Replay = graph.replay
        return replay

    def _capture(self, work: Callable[[], object], pool: Any) -> torch.cuda.CUDAGraph:
        graph = torch.cuda.CUDAGraph()
        captured = torch.cuda.graph(graph, pool=pool, stream=self._stream)
        try:
            # The stream is entered here too, because torch leaves it entered if a capture breaks off.
            with _no_collection(), torch.cuda.stream(self._stream), _own_workspaces(), captured:
                work()
        except BaseException:
            _BROKEN_OFF.append(graph)
            raise
        return graph


@contextmanager
def _own_workspaces() -> Iterator[None]:
    """What is captured takes the scratch memory of matrix products from the graphs' pool, and leaves none there.

    cuBLAS keeps some for every stream. A graph would go on using that of the stream it was captured on, whoever works
    there by then; and a pool in which some was kept cannot be taken up again.
    """
    torch._C._cuda_clearCublasWorkspaces()
    try:
        yield
    finally:
        torch._C._cuda_clearCublasWorkspaces()


@contextmanager
def _no_collection() -> Iterator[None]:
    """Python's collector may come upon an old graph, whose end frees memory: CUDA refuses that during a capture."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def recorder_for(options: RuntimeOptions, device: torch.device) -> Recorder | None:
    """What captures a run's steps; None on a CPU, or if the run asks for none."""
    return CudaGraphs(device) if options.capture and device.type == "cuda" else None


class _Kind:
    """A kind of step: how often it was seen, and once captured, how it is repeated and what Python did in it."""

    def __init__(self) -> None:
        self.seen = 0
        self.captured: tuple[Replay, Situation, Situation] | None = None


class Situated(Protocol):
    """Somebody of whom Python knows something that no tensor does."""

    @property
    def situation(self) -> Situation | None:
        """What it knows between two steps; None: they must not be captured."""

    def restore(self, situation: Situation) -> None:
        """Set it."""


class CapturedSteps:
    """Does each kind of step a few times as it is, captures it the next time, and repeats it from then on.

    Args:
        recorder: of the device.

    Attributes:
        refused: whether a step could not be captured, which is said aloud; every kind that is not captured yet is then
            done as it is.
    """

    WARM_UPS = 3  # a library may choose its kernels by trying them, an optimiser makes its state in the first step

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._kinds: dict[Hashable, _Kind] = {}
        self.refused = False

    def run(self, objective: Situated, key: Hashable, work: Callable[[], None]) -> None:
        """Do `work`, which reads and writes the same tensors each time.

        Args:
            objective: whose step it is, the same each time. It is not kept: what holds the graphs and what they work
                for would hold each other, and a GPU's memory, until Python's collector comes by.
            key: what decides about the step's operations beside the situation.
            work: a whole step.
        """
        before = objective.situation
        assert before is not None
        kind = self._kinds.setdefault((key, before.key), _Kind())
        if kind.captured is not None:
            replay, first, last = kind.captured
            replay()
            numbers = zip(before.counts, first.counts, last.counts, strict=True)
            objective.restore(Situation(last.key, tuple(now + there - here for now, here, there in numbers)))
        elif kind.seen < self.WARM_UPS or self.refused:
            kind.seen += 1
            self._recorder.warm_up(work)
        else:
            self._capture(kind, objective, before, work)

    def _capture(self, kind: _Kind, objective: Situated, before: Situation, work: Callable[[], None]) -> None:
        try:
            replay = self._recorder.record(work)
        except RuntimeError as error:
            told = in_a_line(error.__context__ or error)  # torch says last that the capture broke off, and first why
            print(f"capture   not possible ({told}): steps are done one by one", flush=True)
            self.refused = True
        if self.refused:  # not within the handler: the error holds all tensors of the step that broke off
            objective.restore(before)
            self._recorder.warm_up(work)
            return
        after = objective.situation
        assert after is not None
        kind.captured = replay, before, after
        replay()
