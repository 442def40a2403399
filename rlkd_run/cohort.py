"""Several runs side by side in one process: a GPU does their small kernels at the same time (`runtime.cohort`).

All are put together first. Then each is asked for one step after the other, in turn. It keeps its own order of images,
crops, records and checkpoints; data set, teacher and the teacher's kept answers are there once. A run that fails
leaves the others alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

import torch

from rlkd_run.common import Common
from rlkd_run.config.runconfig import RunConfig
from rlkd_run.device import choose
from rlkd_run.errors import Interrupted
from rlkd_run.experiment import distillation
from rlkd_run.grouping import labels

_END = object()


class Member:
    """A run that shares its process with others.

    Args:
        config: the run.
        label: what its lines begin with.
        common: of all of them.
        wait: as `distill`.
        bar: whether its progress is drawn.
    """

    def __init__(self, config: RunConfig, label: str, common: Common, *, wait: bool, bar: bool) -> None:
        self.config = config
        self._steps = distillation(config, common, wait=wait, label=f"[{label}] ", bar=bar)
        self._chances = torch.get_rng_state()
        device = choose(config.runtime)
        self._gpu = _Place(device) if device.type == "cuda" else None

    def step(self) -> bool:
        """Go one step further, of which the first is the preparation; False at the end of the run."""
        with self._turn():
            return next(self._steps, _END) is not _END

    def give_up(self) -> None:
        """Leave the run where it is: what was saved is kept."""
        self._steps.close()

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """On a stream of its own, with torch's generators as this run has left them."""
        others = torch.get_rng_state()
        torch.set_rng_state(self._chances)
        with ExitStack() as stack:
            if self._gpu is not None:
                stack.enter_context(self._gpu.turn())
            try:
                yield
            finally:
                self._chances = torch.get_rng_state()
                torch.set_rng_state(others)


class _Place:
    """A member's part of a GPU: a stream, and a state of its generator that captured graphs may keep."""

    def __init__(self, device: torch.device) -> None:
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        torch.cuda.init()  # type: ignore[no-untyped-call]
        self._generator = torch.cuda.default_generators[self._stream.device_index]
        self._own = self._generator.clone_state()
        self._prepared = False

    @contextmanager
    def turn(self) -> Iterator[None]:
        others = self._generator.graphsafe_get_state()
        self._generator.graphsafe_set_state(self._own)
        try:
            with torch.cuda.stream(self._stream):
                yield
        finally:
            self._generator.graphsafe_set_state(others)
            if not self._prepared:
                self._stream.synchronize()  # what was made for all is there when the next one asks
                self._prepared = True


def distill_together(configs: Sequence[RunConfig], *, wait: bool, note: Callable[[RunConfig, Exception], None]) -> int:
    """Distil every run, each to its own end.

    Args:
        configs: the runs; of the same teacher, data set and runtime.
        wait: as `distill`.
        note: told of a run that failed.

    Returns:
        How many failed.

    Raises:
        Interrupted: a signal asked for it; all of them have saved what they had reached.
    """
    failed = 0
    stopped: Interrupted | None = None
    with Common() as common, ExitStack() as stack:
        named = zip(configs, labels(configs), strict=True)
        members = [Member(config, label, common, wait=wait, bar=config is configs[0]) for config, label in named]
        for member in members:
            stack.callback(member.give_up)
        # While they are prepared, which includes waiting for others, a signal acts at once; after that, when all of
        # them have come to the end of a step.
        while members and (stopped is None or common.is_stopping):
            for member in list(members):
                try:
                    goes_on = member.step()
                except Interrupted as interrupted:
                    stopped, goes_on = interrupted, False
                except Exception as error:  # noqa: BLE001 - whatever it is, the others go on
                    note(member.config, error)  # and is not kept, nor is the memory that it holds
                    failed, goes_on = failed + 1, False
                if not goes_on:
                    members.remove(member)
                if stopped is not None and not common.is_stopping:
                    break
    if stopped is not None:
        raise stopped
    return failed
