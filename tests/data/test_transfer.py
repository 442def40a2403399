"""Copies run one batch ahead, in order, and an error comes after all that was read before it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from rlkd_run.data.transfer import Arrival, SideStream, download, one_ahead, upload


class Copies:
    def __init__(self) -> None:
        self.log: list[str] = []

    def __call__(self, tensor: Tensor) -> Arrival[Tensor]:
        number = int(tensor)
        self.log.append(f"copy {number}")

        def arrive() -> Tensor:
            self.log.append(f"wait {number}")
            return tensor

        return arrive


def numbers(count: int) -> Iterator[Tensor]:
    yield from (torch.tensor(number) for number in range(count))


@pytest.mark.parametrize("count", [0, 1, 2, 5])
def test_the_next_copy_is_under_way_while_a_batch_is_worked_on(count: int) -> None:
    copies = Copies()
    for number, tensor in enumerate(one_ahead(numbers(count), copies)):
        assert int(tensor) == number
        copies.log.append(f"work {number}")
        assert (f"copy {number + 1}" in copies.log) == (number + 1 < count)
    assert [line for line in copies.log if line.startswith("work")] == [f"work {number}" for number in range(count)]
    assert all(copies.log.index(f"wait {number}") > copies.log.index(f"copy {number}") for number in range(count))


def test_an_error_comes_in_its_place() -> None:
    def broken() -> Iterator[Tensor]:
        yield from numbers(2)
        raise ValueError("unreadable")

    seen = []
    with pytest.raises(ValueError, match="unreadable"):
        seen.extend(int(tensor) for tensor in one_ahead(broken(), Copies()))
    assert seen == [0, 1]


on_a_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")


@on_a_gpu
def test_what_comes_beside_a_busy_gpu_has_arrived_when_it_is_read() -> None:
    device = torch.device("cuda")
    busy = torch.randn(2048, 2048, device=device)
    sent = [torch.full((1 << 20,), float(number)) for number in range(8)]
    side = SideStream(device, lambda tensor: upload(tensor, device) * 2)
    for expected, found in zip(sent, one_ahead(sent, side), strict=True):
        for _ in range(8):
            busy = torch.tanh(busy @ busy)
        assert torch.equal(found.cpu(), expected * 2)


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=on_a_gpu)])
def test_what_was_made_has_arrived_on_the_host_when_it_is_given(device: str) -> None:
    busy = torch.randn(1024, 1024, device=device)

    def make(number: int) -> Arrival[dict[str, Tensor]]:
        nonlocal busy
        for _ in range(8):
            busy = torch.tanh(busy @ busy)
        return download({"made": torch.full((1 << 20,), float(number), device=device) * 2})

    for number, found in enumerate(one_ahead(range(6), make)):
        assert found["made"].device.type == "cpu"
        assert (found["made"] == 2 * number).all()
