"""What every registered method keeps, with a student of the zoo and one of timm.

Options are those of `conf/method/<name>.yaml`. Networks are real and tiny; the teacher runs without gradient, as in a
run, but its parameters could take one, so that a method which lets one through is found out.
"""

from __future__ import annotations

import copy
import dataclasses
import functools
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

import rlkd_run.config.builtin  # noqa: F401 - registers the names
from rlkd_run.config.composition import compose_command
from rlkd_run.config.methods import FeatureOptions
from rlkd_run.config.registry import METHODS
from rlkd_run.methods.base import Method, Setting
from rlkd_run.models.build import build_model
from rlkd_run.models.features import Network
from rlkd_run.protocol import Batch, Mix, Outputs, Temperatures

CLASSES, IMAGES, EPOCH, EPOCHS = 10, 32, 30, 240
WITH_KL = [name for name, entry in METHODS.items() if issubclass(entry.options, FeatureOptions)]
# Source, and side of the images: timm's networks halve their maps five times.
STUDENTS = {"resnet8": ("zoo", 8), "resnet10t": ("timm", 32)}


class NoWaiting(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Fails on what would wait for a device."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        assert name not in ("_local_scalar_dense", "nonzero", "masked_select", "_unique2"), f"{name} waits"
        if name == "index":
            assert all(one is None or one.dtype is not torch.bool for one in args[1]), "a mask as an index waits"
        return func(*args, **(kwargs or {}))


@functools.cache
def options_of(name: str) -> Any:
    (config,) = compose_command([f"method={name}", "temperature=fixed", "teacher=resnet14", "student=resnet8"]).runs
    return config.method


@functools.cache
def networks(student: str, dtype: torch.dtype) -> tuple[nn.Module, nn.Module]:
    torch.manual_seed(0)
    source, _ = STUDENTS[student]
    return build_model(source, student, CLASSES).to(dtype), build_model("zoo", "resnet14", CLASSES).to(dtype).eval()


@dataclass
class Case:
    """A method between two networks, with a mini-batch."""

    name: str
    student: nn.Module
    teacher: nn.Module
    method: Method
    batch: Batch
    dtype: torch.dtype

    def outputs(self) -> tuple[Outputs, Outputs]:
        with Network(self.student, self.method.needs) as student, Network(self.teacher, self.method.needs) as teacher:
            with torch.no_grad():
                theirs = teacher(self.batch.images)
            return student(self.batch.images), theirs

    def temperatures(self, *shape: int) -> Temperatures:
        return Temperatures.equal(torch.full(shape, 3.0, dtype=self.dtype))

    def parts(self, outputs: tuple[Outputs, Outputs], method: Method | None = None) -> dict[str, Tensor]:
        """With the draws of one and the same seed."""
        torch.manual_seed(7)
        return (method or self.method)(*outputs, self.batch, self.temperatures(), EPOCH)


def setting(student: str, dtype: torch.dtype) -> Setting:
    _, size = STUDENTS[student]
    return Setting(*networks(student, dtype), CLASSES, IMAGES, (3, size, size), EPOCHS)


def method_of(name: str, options: Any, student: str, dtype: torch.dtype, seed: int = 1) -> Method:
    torch.manual_seed(seed)
    method: Method = METHODS[name].load()(options, setting(student, dtype)).to(dtype)
    return method


def case(name: str, student: str = "resnet8", size: int = 4, dtype: torch.dtype = torch.float64) -> Case:
    where = setting(student, dtype)
    method = method_of(name, options_of(name), student, dtype)
    generator = torch.Generator().manual_seed(size)
    images = torch.randn(size, *where.image_shape, dtype=dtype, generator=generator)
    target = torch.randint(CLASSES, (size,), generator=generator)
    return Case(name, where.student, where.teacher, method, Batch(images, target, torch.arange(size)), dtype)


@pytest.fixture(autouse=True)
def _no_gradients_left() -> Iterator[None]:
    yield
    for student in STUDENTS:
        for dtype in (torch.float32, torch.float64):
            for model in networks(student, dtype):
                model.zero_grad()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("size", [2, 16])
@pytest.mark.parametrize("student", STUDENTS)
@pytest.mark.parametrize("name", METHODS)
def test_parts_and_gradients(name: str, student: str, size: int, dtype: torch.dtype) -> None:
    one = case(name, student, size, dtype)
    outputs = one.outputs()
    with NoWaiting():  # type: ignore[no-untyped-call]
        parts = one.method(*outputs, one.batch, one.temperatures(size), EPOCH)
        loss = torch.stack(list(parts.values())).sum()
        loss.backward()
    assert all(part.shape == () and part.dtype == dtype for part in parts.values())
    assert all(torch.isfinite(part) for part in parts.values())
    trained = dict(one.method.named_parameters())
    for parameter in [*one.student.parameters(), *(p for p in trained.values() if p.requires_grad)]:
        assert parameter.grad is None or torch.isfinite(parameter.grad).all()
    first = next(one.student.parameters())
    assert first.grad is not None
    assert first.grad.abs().max() > 0
    assert [key for key, value in trained.items() if value.requires_grad and value.grad is None] == []
    assert all(parameter.grad is None for parameter in one.teacher.parameters())
    assert not {id(p) for p in one.teacher.parameters()} & {id(p) for p in trained.values()}


@pytest.mark.parametrize("name", METHODS)
def test_a_lone_image_and_mixed_images(name: str) -> None:
    """The last batch of an epoch may hold one image."""
    lone = case(name, size=1)
    assert all(torch.isfinite(part) for part in lone.parts(lone.outputs()).values())
    mixed = case(name)
    mix = Mix(mixed.batch.target.roll(1), torch.tensor([0.7, 1, 0.5, 1], dtype=torch.float64))
    mixed.batch = dataclasses.replace(mixed.batch, mix=mix)
    parts = mixed.parts(mixed.outputs())
    assert all(torch.isfinite(part) for part in parts.values())


@pytest.mark.parametrize("name", METHODS)
def test_a_scalar_temperature_equals_a_tensor_filled_with_it(name: str) -> None:
    one = case(name)
    outputs, other = one.outputs(), copy.deepcopy(one.method)
    scalar = one.parts(outputs)
    torch.manual_seed(7)
    filled = other(*outputs, one.batch, one.temperatures(4), EPOCH)
    assert list(scalar) == list(filled)
    torch.testing.assert_close(list(scalar.values()), list(filled.values()), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", WITH_KL)
def test_without_its_weight_the_divergence_is_left_out(name: str) -> None:
    one = case(name)
    options = dataclasses.replace(options_of(name), kl_weight=0.0, ce_weight=1.0)
    alone = method_of(name, options, "resnet8", one.dtype)
    outputs = one.outputs()
    full, parts = one.parts(outputs), one.parts(outputs, alone)
    assert "kl" in full
    assert parts.keys() == full.keys() - {"kl"}
    torch.testing.assert_close(parts["feature"], full["feature"])
    torch.testing.assert_close(parts["ce"], full["ce"] / options_of(name).ce_weight)


@pytest.mark.parametrize("name", METHODS)
def test_what_is_saved_goes_on_in_the_same_bits(name: str) -> None:
    one = case(name)
    outputs = one.outputs()
    one.parts(outputs)  # what a method remembers of a batch is in what it saves
    file = io.BytesIO()
    torch.save(one.method.state_dict(), file)
    file.seek(0)
    other = method_of(name, options_of(name), "resnet8", one.dtype, seed=2)
    other.load_state_dict(torch.load(file, weights_only=True))
    expected, parts = one.parts(outputs), one.parts(outputs, other)
    assert list(expected) == list(parts)
    assert all(torch.equal(expected[key], parts[key]) for key in expected)
    assert all(torch.equal(value, other.state_dict()[key]) for key, value in one.method.state_dict().items())
