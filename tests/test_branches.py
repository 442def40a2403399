"""Convolutions whose weights' gradients are computed beside the backward pass learn as all others do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rlkd_run.branches import STREAMS, Branches, WeightGradients
from rlkd_run.capture import CudaGraphs
from rlkd_run.models.build import build_model
from rlkd_run.models.features import Network

CPU = torch.device("cpu")
DEVICES = [
    CPU,
    pytest.param(torch.device("cuda"), marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")),
]


class Odd(nn.Module):
    """Convolutions with all kinds of arguments; one is used twice, one is frozen, one pads by name."""

    def __init__(self) -> None:
        super().__init__()
        self.twice = nn.Conv2d(3, 3, 3, padding=1)
        self.frozen = nn.Conv2d(3, 4, 1).requires_grad_(False)
        self.named = nn.Conv2d(4, 4, 3, padding="same")
        self.grouped = nn.Conv2d(4, 8, (3, 1), stride=(2, 1), padding=(1, 0), dilation=1, groups=2, bias=False)
        self.last = nn.Parameter(torch.randn(5, 8, 2, 2))

    def forward(self, images: Tensor) -> Tensor:
        x = self.named(self.frozen(self.twice(self.twice(images).relu())))
        return F.conv2d(input=self.grouped(x), weight=self.last, stride=2, dilation=2).mean((2, 3))


class Residual(nn.Module):
    """A block and a classifier; a network of the package would be instrumented where coverage is measured."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
        self.conv2, self.bn2 = nn.Conv2d(8, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
        self.fc = nn.Linear(8, 5)

    def forward(self, images: Tensor) -> Tensor:
        x = self.bn1(self.conv1(images)).relu()
        return self.fc((self.bn2(self.conv2(x)) + x).relu().mean((2, 3)))


def resnet() -> nn.Module:
    return build_model("zoo", "resnet8", 5)


def shufflenet() -> nn.Module:
    return build_model("zoo", "shufflenet_v2", 5)


@pytest.fixture(autouse=True)
def _switches() -> Iterator[None]:
    """A GPU's convolutions as exact as a run's."""
    before = torch.get_deterministic_debug_mode(), torch.backends.cudnn.allow_tf32
    torch.set_deterministic_debug_mode("warn")
    torch.backends.cudnn.allow_tf32 = False
    yield
    torch.set_deterministic_debug_mode(before[0])
    torch.backends.cudnn.allow_tf32 = before[1]


def gradients(model: nn.Module, device: torch.device, precision: str, beside: bool) -> dict[str, Tensor]:
    """Of all parameters, after two backward passes without a reset between them; on a GPU from a captured step."""
    model = model.to(device).to(memory_format=torch.channels_last).train()
    network = Network(model, precision=precision)
    branches = WeightGradients(Branches(device))
    network.weight_gradients = branches if beside else None
    images = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(1)).to(device)

    def step() -> None:
        for one in model.parameters():
            one.grad = None
        for _ in range(2):
            network(images).logits.square().mean().backward()
            branches.collect()

    if device.type == "cpu":
        step()
    else:
        graphs = CudaGraphs(device)
        graphs.warm_up(step)
        replay = graphs.record(step)  # kept until the gradients have been read: they lie in the graph's memory
        replay()
    return {name: one.grad.clone() for name, one in model.named_parameters() if one.grad is not None}


@pytest.mark.parametrize("device", DEVICES, ids=str)
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("make", [Odd, resnet, shufflenet])
def test_gradients_are_those_of_the_backward_pass(
    make: Callable[[], nn.Module], precision: str, device: torch.device
) -> None:
    torch.manual_seed(0)
    model = make()
    expected, found = (gradients(model, device, precision, beside) for beside in (False, True))
    assert expected.keys() == found.keys()
    tolerance = {"rtol": 1e-4, "atol": 1e-6} if precision == "fp32" else {"rtol": 0.1, "atol": 2e-3}
    for name, value in expected.items():
        assert found[name].is_contiguous() == value.is_contiguous()
        assert found[name].dtype == torch.float32
        torch.testing.assert_close(found[name], value, **tolerance)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_compiled_network_keeps_its_convolutions_apart(precision: str, monkeypatch: pytest.MonkeyPatch) -> None:
    compiler = torch.compile
    torch._dynamo.reset()  # what other tests have compiled
    monkeypatch.setattr(torch, "compile", lambda model, **_: compiler(model, backend="aot_eager", dynamic=False))
    compiled = torch._dynamo.utils.counters["stats"]
    images = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    found = []
    for beside in (False, True):
        torch.manual_seed(0)
        model = Residual()
        network = Network(model, precision=precision)
        gradients = network.weight_gradients = WeightGradients(Branches(CPU)) if beside else None
        compiled.clear()
        if beside:
            network.compile(4)
        for _ in range(2):
            model.zero_grad()
            network(images).logits.square().mean().backward()
            if gradients is not None:
                assert model.get_parameter("conv1.weight").grad is None
                gradients.collect()
        assert (compiled["unique_graphs"] > 1) is beside
        with torch.no_grad():  # as it is asked again, and evaluated
            model.eval()
            found.append([one.grad for one in model.parameters()] + [model(images), network.logits_again(images)])
    tolerance = {"rtol": 1e-4, "atol": 1e-5} if precision == "fp32" else {"rtol": 0.1, "atol": 1e-2}
    for expected, value in zip(*found, strict=True):
        torch.testing.assert_close(value, expected, **tolerance)


def test_weights_are_cast_as_they_are_when_a_step_begins() -> None:
    model = resnet()
    network = Network(model, precision="bf16")
    gradients = network.weight_gradients = WeightGradients(Branches(CPU))
    images = torch.randn(2, 3, 32, 32)
    weight = model.get_parameter("conv1.weight")
    memory = gradients.cast(weight, torch.bfloat16).data_ptr()
    for step in range(4):
        with torch.no_grad():
            weight.mul_(2.0)
        if step % 2:  # a step that does not begin casts all the same
            gradients.begin()
        assert network(images).logits.requires_grad
        cast = gradients.cast(weight, torch.bfloat16)
        assert torch.equal(cast, weight.to(torch.bfloat16))
        assert cast.data_ptr() == memory
    assert gradients.cast(weight, torch.float32) is weight


def test_nothing_is_left_over_after_a_step() -> None:
    model = resnet()
    network, branches = Network(model), WeightGradients(Branches(CPU))
    network.weight_gradients = branches
    network(torch.randn(2, 3, 32, 32)).logits.sum().backward()
    assert model.get_parameter("conv1.weight").grad is None
    branches.collect()
    first = model.get_parameter("conv1.weight").grad
    assert first is not None
    branches.collect()
    assert model.get_parameter("conv1.weight").grad is first


def test_without_gradients_a_convolution_is_what_it_is() -> None:
    model = resnet().eval()
    network, images = Network(model), torch.randn(2, 3, 32, 32)
    network.weight_gradients = WeightGradients(Branches(CPU))
    with torch.no_grad():
        assert torch.equal(network(images).logits, model(images))
    assert network(images).logits.requires_grad


def test_what_a_broken_step_has_left_is_dropped() -> None:
    model = resnet()
    network, branches = Network(model), WeightGradients(Branches(CPU))
    network.weight_gradients = branches
    network(torch.randn(2, 3, 32, 32)).logits.sum().backward()
    branches.begin()
    branches.collect()
    assert model.get_parameter("conv1.weight").grad is None


class FakeStream:
    """Notes what it waits for; the current one is switched as torch does."""

    main: FakeStream
    current: FakeStream

    def __init__(self, device: object = None) -> None:
        self.waited: list[FakeStream] = []

    def wait_stream(self, other: FakeStream) -> None:
        self.waited.append(other)


@pytest.fixture
def streams(monkeypatch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def stream(one: FakeStream) -> Iterator[None]:
        before, FakeStream.current = FakeStream.current, one
        yield
        FakeStream.current = before

    FakeStream.main = FakeStream.current = FakeStream()
    monkeypatch.setattr(torch.cuda, "Stream", FakeStream)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda: FakeStream.current)
    monkeypatch.setattr(torch.cuda, "stream", stream)
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: True)


def test_branches_start_after_what_was_asked_for_and_are_waited_for(streams: None) -> None:
    branches = Branches(torch.device("cuda"))
    assert branches.exist
    used = []
    for _ in range(STREAMS + 1):
        with branches.branch():
            used.append(FakeStream.current)
    assert len(set(used)) == STREAMS
    assert used[0] is used[STREAMS]
    assert all(one.waited[-1] is FakeStream.main for one in used)
    branches.join()
    assert set(FakeStream.main.waited) == set(used)
    with branches.branch():
        assert FakeStream.current is used[0]
    assert not Branches(CPU).exist


def test_outside_of_a_capture_everything_is_done_in_its_place(streams: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: False)
    branches = Branches(torch.device("cuda"))
    with branches.branch():
        assert FakeStream.current is FakeStream.main
    branches.join()
    assert not FakeStream.main.waited
