"""From the host to the device without waiting."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import torch
from torch import Tensor

Arrival = Callable[[], Tensor]
"""Gives a tensor whose copying has begun; what is done with it then comes after the copy."""


def upload(tensor: Tensor, device: torch.device) -> Tensor:
    """Queue a copy of `tensor` to the device; from pageable memory, the host would wait for it."""
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


class SideStream:
    """Copies pinned tensors to a GPU beside what it computes: its copy engine has nothing else to do."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

    def __call__(self, tensor: Tensor) -> Arrival:
        """Begin to copy."""
        with torch.cuda.stream(self._stream):
            there = tensor.to(self._device, non_blocking=True)
            copied = self._stream.record_event()

        def arrive() -> Tensor:
            computing = torch.cuda.current_stream(self._device)
            computing.wait_event(copied)
            there.record_stream(computing)  # else its memory could be given away while it is read
            return there

        return arrive


def one_ahead(tensors: Iterable[Tensor], copy: Callable[[Tensor], Arrival]) -> Iterator[Tensor]:
    """The tensors on the device, in order; each is under way before the one before it is asked for.

    What the iteration raises comes after all that was read before it.
    """
    iterator = iter(tensors)
    pending: Arrival | None = None
    while True:
        try:
            following = copy(next(iterator))
        except Exception as error:
            if pending is not None:
                yield pending()
            if isinstance(error, StopIteration):
                return
            raise
        if pending is not None:
            yield pending()
        pending = following
