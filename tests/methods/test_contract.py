"""What every registered method keeps, with a student of the zoo and one of timm.

Options are those of `conf/method/<name>.yaml`. Networks are real and tiny; the teacher runs without gradient, as in a
run, but its parameters could take one, so that a method which lets one through is found out.
"""

from __future__ import annotations

import copy
import dataclasses
import io
from collections.abc import Iterator

import pytest
import torch
from method_support import EPOCH, STUDENTS, case, method_of, networks, options_of, setting
from waiting import NoWaiting

import rlkd_run.config.builtin  # noqa: F401 - registers the names
from rlkd_run.config.methods import FeatureOptions
from rlkd_run.config.registry import METHODS
from rlkd_run.protocol import Mix

WITH_KL = [name for name, entry in METHODS.items() if issubclass(entry.options, FeatureOptions)]


@pytest.fixture(autouse=True)
def _no_gradients_left() -> Iterator[None]:
    yield
    for student in STUDENTS:
        for dtype in (torch.float32, torch.float64):
            for model in networks(student, dtype):
                model.zero_grad()


@pytest.mark.parametrize("student", STUDENTS)
@pytest.mark.parametrize("name", METHODS)
def test_parts_and_gradients(name: str, student: str) -> None:
    """Other sizes and precisions come with every policy in ``test_combinations.py``."""
    size, dtype = 16, torch.float64
    one = case(name, student, size, dtype)
    outputs = one.outputs()
    with NoWaiting():
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
    mix = Mix(
        mixed.batch.target.roll(1), torch.tensor([0.7, 1, 0.5, 1], dtype=torch.float64), torch.tensor([True, False] * 2)
    )
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


# In these the theory says that a student which equals its teacher has nothing to learn from it.
ZERO_WHEN_EQUAL = ("kd", "lskd", "dkd", "dtkd", "dist", "at", "sp", "rkd", "pkt", "nst", "infoflow")


@pytest.mark.parametrize("name", ZERO_WHEN_EQUAL)
def test_identical_networks_have_no_loss_beside_the_labels(name: str) -> None:
    one = case(name)
    teacher = copy.deepcopy(one.teacher)
    where = setting("resnet8", one.dtype)._replace(student=teacher)
    one.method = METHODS[name].load()(options_of(name), where).to(one.dtype)
    one.student = teacher
    parts = one.parts(one.outputs())
    distance = torch.stack([part for key, part in parts.items() if key != "ce"]).sum()
    distance.backward()
    assert distance.item() == pytest.approx(0, abs=1e-9)
    # Relative to the gradient of the labels: weights of thousands multiply what is left of rounding.
    left = max(parameter.grad.abs().max().item() for parameter in teacher.parameters() if parameter.grad is not None)
    assert left < 1e-6


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
