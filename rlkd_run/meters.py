"""Running means of a training epoch, kept on the device and read when somebody asks, not in the step."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from rlkd_run.errors import ConfigError


class EpochMeter:
    """Weighted sums of named 0-dim tensors, float64: the spread of an epoch's temperatures is a small difference.

    Args:
        device: where the sums live.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.names: list[str] = []
        self.sums = torch.zeros(0, dtype=torch.float64, device=device)  # the same tensor as long as the names are
        self.reset()

    def reset(self) -> None:
        """Start an epoch."""
        self.sums.zero_()
        self.images = 0

    def add(self, values: Mapping[str, Tensor], images: int) -> None:
        """Take in a step: means over `images` images.

        Raises:
            ConfigError: the names are not those of the epoch's first step, which a method must keep to.
        """
        stacked = torch.stack([value.detach().to(torch.float32) for value in values.values()])
        if self.names != list(values):
            if self.images:
                raise ConfigError(
                    f"A step of the epoch is recorded as {', '.join(values)}, those before as {', '.join(self.names)}: "
                    "a method's losses must have the same names in every step of an epoch."
                )
            self.names, self.sums = list(values), torch.zeros_like(stacked, dtype=self.sums.dtype)
        self.sums.add_(stacked, alpha=images)

    def count(self, images: int) -> None:
        """Count the images of the step."""
        self.images += images

    def means(self) -> Tensor:
        """Means so far in the order of `names`, on the device."""
        return self.sums / self.images

    def read(self) -> dict[str, float]:
        """Means so far as numbers. Waits for the device."""
        return dict(zip(self.names, self.means().tolist(), strict=True)) if self.images else {}

    def state_dict(self) -> dict[str, Any]:
        """For a checkpoint within an epoch."""
        return {"names": list(self.names), "sums": self.sums, "images": self.images}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` gave."""
        self.names, self.images = list(state["names"]), state["images"]
        self.sums = state["sums"].to(self.device, self.sums.dtype, copy=True)


class Readout:
    """Device numbers for the progress bar, at most once a second and without waiting for the device.

    On a GPU the copy to the host runs beside the training; its result is picked up at a later call.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._next = 0.0
        self._pending: tuple[Tensor, torch.cuda.Event | None] | None = None

    def due(self) -> bool:
        """Whether it is time to offer numbers again."""
        return time.monotonic() >= self._next

    def offer(self, values: Tensor) -> None:
        """Start fetching `values`, a vector on the device."""
        self._next = time.monotonic() + 1.0
        if self.device.type != "cuda":
            self._pending = (values, None)
            return
        host = torch.empty(values.shape, dtype=values.dtype, pin_memory=True).copy_(values, non_blocking=True)
        event = torch.cuda.Event()  # type: ignore[no-untyped-call]
        event.record()
        self._pending = (host, event)

    def poll(self) -> list[float] | None:
        """The numbers, once they have arrived."""
        if self._pending is None or not _arrived(self._pending[1]):
            return None
        host, self._pending = self._pending[0], None
        return host.tolist()


def _arrived(event: torch.cuda.Event | None) -> bool:
    return event is None or bool(event.query())  # type: ignore[no-untyped-call]
