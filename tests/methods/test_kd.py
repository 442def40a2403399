"""KD and its divergence against the golden numbers of the method notes, section 0 (float64)."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from rlkd_run.config.methods import KDOptions
from rlkd_run.methods.base import Setting, cross_entropy, softened_divergence
from rlkd_run.methods.kd import KD
from rlkd_run.protocol import Batch, Mix, Outputs, Temperatures

V = torch.tensor([[4, 1, 0, -1], [0.5, 2.5, 1, 0]], dtype=torch.float64)
U = torch.tensor([[2, 1, 0.5, -0.5], [0.2, 1, 1.5, -0.3]], dtype=torch.float64)
Y = torch.tensor([0, 1])
BATCH = Batch(torch.zeros(2, 3, 1, 1), Y, torch.arange(2))


def golden(text: str) -> object:
    """A printed number: relative 1e-5 plus half a unit of its last digit."""
    half = 0.5 * 10.0 ** -len(text.partition(".")[2])
    return pytest.approx(float(text), rel=1e-5, abs=half + 1e-5 * abs(float(text)))


def equal(*values: float) -> Temperatures:
    return Temperatures.equal(torch.tensor(values if len(values) > 1 else values[0], dtype=torch.float64))


def kd(ce_weight: float = 0.1, kl_weight: float = 0.9) -> KD:
    nothing = nn.Identity()
    return KD(KDOptions("kd", ce_weight, kl_weight, standardise=False), Setting(nothing, nothing, 4, 2, (3, 1, 1), 240))


def test_cross_entropy() -> None:
    assert cross_entropy(U, BATCH).item() == golden("0.8648802")


@pytest.mark.parametrize(
    ("temperature", "first", "second"),
    [(1, "0.2915889", "0.3591612"), (2, "0.1523696", "0.0846770"), (4, "0.0411062", "0.0188936")],
)
def test_divergence_of_each_instance(temperature: float, first: str, second: str) -> None:
    divergence = softened_divergence(V, U, equal(temperature)) / temperature**2
    assert divergence[0].item() == golden(first)
    assert divergence[1].item() == golden(second)


@pytest.mark.parametrize(
    ("temperature", "value"), [(1, "0.3253751"), (2, "0.4740933"), (4, "0.4799989"), (2.81, "0.489105")]
)
def test_kd_at_a_temperature(temperature: float, value: str) -> None:
    assert softened_divergence(V, U, equal(temperature)).mean().item() == golden(value)


def test_limit_of_high_temperature() -> None:
    assert softened_divergence(V, U, equal(1e5)).mean().item() == pytest.approx(0.393125, rel=1e-4)


def test_instance_temperatures() -> None:
    assert softened_divergence(V, U, equal(2, 4)).mean().item() == golden("0.4558883")


def test_two_sided_temperatures() -> None:
    """DTKD's example, section 1: the scale is the product of both sides."""
    two_sided = Temperatures(
        torch.tensor([16 / 3, 5.0], dtype=torch.float64), torch.tensor([8 / 3, 3.0], dtype=torch.float64)
    )
    product = two_sided.teacher * two_sided.student
    divergence = softened_divergence(V, U, two_sided)
    assert (divergence / product)[0].item() == golden("0.0043365")
    assert (divergence / product)[1].item() == golden("0.0176547")
    assert divergence.mean().item() == golden("0.1632475")


def test_a_scalar_temperature_equals_a_tensor_filled_with_it() -> None:
    assert torch.equal(softened_divergence(V, U, equal(4)), softened_divergence(V, U, equal(4, 4)))


def test_identical_networks_have_no_divergence() -> None:
    u = V.clone().requires_grad_()
    loss = softened_divergence(V, u, equal(4)).mean()
    loss.backward()  # type: ignore[no-untyped-call]
    assert loss.item() == pytest.approx(0, abs=1e-15)
    assert u.grad is not None
    assert u.grad.abs().max().item() < 1e-15


def test_parts_are_weighted() -> None:
    parts = kd()(Outputs(U), Outputs(V), BATCH, equal(4), 1)
    assert parts["ce"].item() == golden(str(0.08648802))
    assert parts["kl"].item() == pytest.approx(0.9 * 0.4799989, rel=1e-6)


def test_mixed_labels_weigh_both() -> None:
    mix = Mix(torch.tensor([1, 1]), torch.tensor([0.7, 1.0], dtype=torch.float64), torch.tensor([True, False]))
    batch = Batch(BATCH.images, Y, BATCH.index, mix)

    def ce(logits: Tensor, label: int) -> Tensor:
        return -logits.log_softmax(0)[label]

    expected = (0.7 * ce(U[0], 0) + 0.3 * ce(U[0], 1) + ce(U[1], 1)) / 2
    assert cross_entropy(U, batch).item() == pytest.approx(expected.item())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("size", [1, 2, 16])
def test_gradient_reaches_the_student_only(size: int, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    student, teacher = (torch.randn(size, 100, dtype=dtype, requires_grad=True) for _ in range(2))
    batch = Batch(torch.zeros(size, 3, 1, 1), torch.arange(size), torch.arange(size))
    parts = kd()(Outputs(student), Outputs(teacher.detach()), batch, Temperatures.equal(torch.rand(size) * 9 + 1), 1)
    torch.stack(list(parts.values())).sum().backward()
    assert student.grad is not None
    assert torch.isfinite(student.grad).all()
    assert teacher.grad is None


def test_extreme_logits_stay_finite() -> None:
    u = torch.tensor([[1e4, -1e4, 0.0]], requires_grad=True)
    batch = Batch(torch.zeros(1, 3, 1, 1), torch.tensor([1]), torch.tensor([0]))
    parts = kd()(Outputs(u), Outputs(-u.detach()), batch, equal(1), 1)
    loss = torch.stack(list(parts.values())).sum()
    loss.backward()
    assert torch.isfinite(loss)
    assert u.grad is not None
    assert torch.isfinite(u.grad).all()
