"""Between host and device without waiting."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Generic, TypeVar

import torch
from torch import Tensor

Cargo = TypeVar("Cargo")
Brought = TypeVar("Brought")

Arrival = Callable[[], Brought]
"""Gives what is on its way; what is done with it then comes after it has arrived."""


def upload(tensor: Tensor, device: torch.device) -> Tensor:
    """Queue a copy of `tensor` to the device; from pageable memory, the host would wait for it."""
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


def download(tensors: Mapping[str, Tensor]) -> Arrival[dict[str, Tensor]]:
    """Queue copies of tensors to the host; they have arrived when the host is given them, for which it waits."""
    there = {name: tensor.to("cpu", non_blocking=True) for name, tensor in tensors.items()}
    devices = {tensor.device for tensor in tensors.values() if tensor.device.type == "cuda"}
    copied = [torch.cuda.current_stream(device).record_event() for device in devices]

    def arrive() -> dict[str, Tensor]:
        for event in copied:
            event.synchronize()
        return there

    return arrive


class SideStream(Generic[Cargo]):
    """Brings batches to a GPU beside what it computes: its copy engine and its decoder have nothing else to do.

    Args:
        device: the GPU.
        bring: makes a tensor there of what the host has.
    """

    def __init__(self, device: torch.device, bring: Callable[[Cargo], Tensor]) -> None:
        self._device, self._bring = device, bring
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

    def __call__(self, cargo: Cargo) -> Arrival[Tensor]:
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


def one_ahead(cargoes: Iterable[Cargo], bring: Callable[[Cargo], Arrival[Brought]]) -> Iterator[Brought]:
    """What is brought of each, in order; it is under way before the one before it is asked for.

    What the iteration raises comes after all that was read before it.
    """
    iterator = iter(cargoes)
    pending: Arrival[Brought] | None = None
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
