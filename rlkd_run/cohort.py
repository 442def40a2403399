"""Several runs side by side in one process: a GPU does their small kernels at the same time (`runtime.cohort`).

Each run is asked for one step after the other, in turn. It keeps its own order of images, crops, records and
checkpoints; data set, teacher and the teacher's kept answers are there once. A run that fails leaves the others alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace

import torch
from torch import Tensor

from rlkd_run.common import Common
from rlkd_run.config.runconfig import RunConfig
from rlkd_run.device import choose
from rlkd_run.errors import Interrupted
from rlkd_run.experiment import distillation

_END = object()


class Member:
    """A run that shares its process with others.

    Args:
        config: the run.
        common: of all of them.
        wait: as `distill`.
        shows: whether it is the one whose progress bar is drawn.
    """

    def __init__(self, config: RunConfig, common: Common, *, wait: bool, shows: bool) -> None:
        if not shows:
            config = replace(config, runtime=replace(config.runtime, progress=False))
        self.config = config
        label = f"[{config.method.name} {config.temperature.name} seed {config.seed}] "
        self._steps = distillation(config, common, wait=wait, label=label)
        self._device = choose(config.runtime)
        self._stream = torch.cuda.Stream(self._device) if self._device.type == "cuda" else None  # type: ignore[no-untyped-call]
        self._generators: list[Tensor] | None = None

    def step(self) -> bool:
        """Go one step further; False at the end of the run."""
        with self._turn():
            return next(self._steps, _END) is not _END

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """On a stream of its own, with torch's generators as this run has left them."""
        others = _generators(self._device)
        if self._generators is not None:
            _set_generators(self._device, self._generators)
        try:
            with nullcontext() if self._stream is None else torch.cuda.stream(self._stream):
                yield
        finally:
            if self._generators is None and self._stream is not None:
                self._stream.synchronize()  # what was made for all is there when the next one asks
            self._generators = _generators(self._device)
            _set_generators(self._device, others)


def _generators(device: torch.device) -> list[Tensor]:
    gpu = [torch.cuda.get_rng_state(device)] if device.type == "cuda" else []
    return [torch.get_rng_state(), *gpu]


def _set_generators(device: torch.device, states: Sequence[Tensor]) -> None:
    torch.set_rng_state(states[0])
    if device.type == "cuda":
        torch.cuda.set_rng_state(states[1], device)


def distill_together(
    configs: Sequence[RunConfig], *, wait: bool, note: Callable[[RunConfig, Exception], None]
) -> list[Exception]:
    """Distil every run, each to its own end.

    Args:
        configs: the runs; of the same teacher, data set and runtime.
        wait: as `distill`.
        note: told of a run that failed.

    Returns:
        What the failed ones failed by.

    Raises:
        Interrupted: a signal asked for it; all of them have saved what they had reached.
    """
    failures: list[Exception] = []
    stopped: Interrupted | None = None
    with Common() as common:
        members = [Member(config, common, wait=wait, shows=config is configs[0]) for config in configs]
        while members:
            for member in list(members):
                try:
                    goes_on = member.step()
                except Interrupted as interrupted:
                    stopped, goes_on = interrupted, False
                except Exception as error:  # noqa: BLE001 - whatever it is, the others go on
                    note(member.config, error)
                    failures.append(error)
                    goes_on = False
                if not goes_on:
                    members.remove(member)
    if stopped is not None:
        raise stopped
    return failures
