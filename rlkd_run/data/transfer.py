"""From the host to the device without waiting."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Generic, TypeVar

import torch
from torch import Tensor

Cargo = TypeVar("Cargo")

Arrival = Callable[[], Tensor]
"""Gives a tensor that is on its way; what is done with it then comes after it has arrived."""


def upload(tensor: Tensor, device: torch.device) -> Tensor:
    """Queue a copy of `tensor` to the device; from pageable memory, the host would wait for it."""
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


class SideStream(Generic[Cargo]):
    """Brings batches to a GPU beside what it computes: its copy engine and its decoder have nothing else to do.

    Args:
        device: the GPU.
        bring: makes a tensor there of what the host has.
    """

    def __init__(self, device: torch.device, bring: Callable[[Cargo], Tensor]) -> None:
        self._device, self._bring = device, bring
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

    def __call__(self, cargo: Cargo) -> Arrival:
        """Begin to bring it."""
        with torch.cuda.stream(self._stream):
            there = self._bring(cargo)
            copied = self._stream.record_event()

        def arrive() -> Tensor:
            computing = torch.cuda.current_stream(self._device)
            computing.wait_event(copied)
            there.record_stream(computing)  # else its memory could be given away while it is read
            return there

        return arrive


def one_ahead(cargoes: Iterable[Cargo], bring: Callable[[Cargo], Arrival]) -> Iterator[Tensor]:
    """The tensors on the device, in order; each is under way before the one before it is asked for.

    What the iteration raises comes after all that was read before it.
    """
    iterator = iter(cargoes)
    pending: Arrival | None = None
    while True:
        try:
            following = bring(next(iterator))
        except Exception as error:
            if pending is not None:
                yield pending()
            if isinstance(error, StopIteration):
                return
            raise
        if pending is not None:
            yield pending()
        pending = following
