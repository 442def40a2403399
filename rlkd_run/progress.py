"""What a person sees while a run trains: a bar in a terminal, a line an epoch everywhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeVar

import torch
from tqdm import tqdm

from rlkd_run.meters import EpochMeter, Readout

T = TypeVar("T")


def progress(items: Sequence[T], what: str, *, enabled: bool) -> Iterable[T]:
    """The items, with a bar in a terminal."""
    bar: Iterable[T] = tqdm(items, desc=what, leave=False, dynamic_ncols=True, disable=not is_drawn(enabled))
    return bar


def is_drawn(enabled: bool) -> bool:
    """Whether a bar is seen: it is wanted, and standard error is a terminal."""
    return enabled and sys.stderr.isatty()


class EpochBar:
    """Progress of one epoch: images/s, loss parts, temperature, reward; fed at most once a second.

    Args:
        epoch: from 1.
        epochs: of the whole run.
        steps: steps of the epoch.
        start: steps done already.
        enabled: no bar is drawn if False, or if standard error is not a terminal.
        device: where the numbers live.
    """

    def __init__(self, epoch: int, epochs: int, steps: int, start: int, enabled: bool, device: torch.device) -> None:
        self._bar = tqdm(
            desc=f"epoch {epoch}/{epochs}",
            total=steps,
            initial=start,
            unit="step",
            leave=False,
            disable=not is_drawn(enabled),
            dynamic_ncols=True,
        )
        self._readout = Readout(device)
        self._began = time.monotonic()
        self._seen = 0
        self._names: list[str] = []

    def update(self, meter: EpochMeter, images: int, metrics: Callable[[], Mapping[str, torch.Tensor]]) -> None:
        """Count a step of `images` images; `metrics` is asked for more numbers only when they are shown."""
        self._seen += images
        if self._bar.disable:
            return
        self._bar.update()
        if self._readout.due():
            more = metrics()
            self._names = [*meter.names, *more]
            self._readout.offer(torch.cat([meter.means(), *(value.reshape(1).float() for value in more.values())]))
        numbers = self._readout.poll()
        if numbers is not None:
            rate = self._seen / (time.monotonic() - self._began)
            shown = describe(with_spread(dict(zip(self._names, numbers, strict=True))))
            self._bar.set_postfix_str(f"{rate:.0f} img/s  {shown}", refresh=False)

    def close(self) -> None:
        """Take the bar off the screen."""
        self._bar.close()


def with_spread(means: Mapping[str, float]) -> dict[str, float]:
    """The means of an epoch with T's standard deviation in place of the mean of T^2."""
    shown = dict(means)
    if "t_square" in shown:
        shown["t_std"] = max(shown.pop("t_square") - shown["t_mean"] ** 2, 0.0) ** 0.5
    return shown


def describe(means: Mapping[str, float]) -> str:
    """Loss parts, temperature and reward in a few words."""
    words = [f"{name.removeprefix('loss_')} {value:.3f}" for name, value in means.items() if name.startswith("loss_")]
    if "t_mean" in means:
        words.append(f"T {means['t_mean']:.2f}±{means['t_std']:.2f}")
    if "agent_reward" in means:
        words.append(f"R {means['agent_reward']:+.4f}")
    return "  ".join(words)
