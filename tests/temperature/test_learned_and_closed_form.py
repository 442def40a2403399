"""CTKD, DTKD and logit spread against the method notes, sections 1 and 2 (float64): values, gradients, edges."""

from __future__ import annotations

import functools

import pytest
import torch
from composed import composed
from golden import U, V, Y, golden
from torch import Tensor

from rlkd_run.config.temperatures import CTKDInstanceOptions, CTKDOptions, DTKDPolicyOptions, StdOptions
from rlkd_run.methods.base import softened_divergence
from rlkd_run.methods.logits import standardise
from rlkd_run.protocol import Observation, Temperatures
from rlkd_run.temperature.base import PolicySetting
from rlkd_run.temperature.ctkd import CTKD, curriculum, scale_gradient
from rlkd_run.temperature.ctkd_instance import InstanceCTKD
from rlkd_run.temperature.dtkd import DTKD
from rlkd_run.temperature.lskd_std import LogitStd


@functools.cache
def setting(classes: int = 4, seed: int = 0) -> PolicySetting:
    config = composed("recipe.batch_size=8", f"seed={seed}")
    return PolicySetting(config, classes, 32, 4, torch.device("cpu"))


def see(v: Tensor, u: Tensor, epoch: int = 1) -> Observation:
    index = torch.arange(len(u))
    return Observation(v, u, index % u.shape[1], index, None, epoch, 0)


def ctkd(initial: float = 1.0, loops: int = 10, strength: float = 1.0) -> CTKD:
    policy = CTKD(CTKDOptions("ctkd", 1.0, 20.0, float(initial), strength, loops), setting())
    policy.value.data = policy.value.data.double()
    return policy


def ctkd_instance(seed: int = 0, classes: int = 4) -> InstanceCTKD:
    return InstanceCTKD(CTKDInstanceOptions("ctkd_instance", 1.0, 20.0, 1.0, 1.0, 10, 16), setting(classes, seed))


def dtkd(tau: float = 4.0, floor: float = 0.1) -> DTKD:
    return DTKD(DTKDPolicyOptions("dtkd", tau, floor), setting())


def lskd_std(base: float = 2.0) -> LogitStd:
    return LogitStd(StdOptions("lskd_std", base, 0.01), setting())


# --- CTKD -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("loops", "factors"),
    [
        (10, "-0.024472 -0.095492 -0.206107 -0.345492 -0.5 -0.654508 -0.793893 -0.904508 -0.975528 -1 -1 -1"),
        (5, "-0.095492 -0.345492 -0.654508 -0.904508 -1"),
        (1, "-1 -1"),
    ],
)
def test_curriculum(loops: int, factors: str) -> None:
    for epoch, factor in enumerate(factors.split(), start=1):
        assert curriculum(epoch, loops) == golden(factor)
        assert curriculum(epoch, loops, 0.5) == pytest.approx(0.5 * float(factor), abs=1e-6)


def test_reversal_turns_the_gradient_and_nothing_else() -> None:
    r = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
    y = 3 * scale_gradient(r, torch.tensor(-0.5))
    y.backward()  # type: ignore[no-untyped-call]
    assert y.item() == 3 * r.item()
    assert r.grad is not None
    assert r.grad.item() == -1.5


@pytest.mark.parametrize(
    ("raw", "temperature", "value", "slope"),
    [
        (1, "15.621172", "0.422108", "-0.0068742"),
        (-4, "1.35972", "0.408543", "0.0619171"),
        (-2, "3.38406", "0.486183", "-0.017986"),
    ],
)
def test_ctkd_loss_and_slope(raw: float, temperature: str, value: str, slope: str) -> None:
    policy = ctkd(raw)
    policy._factor.fill_(1.0)  # the plain gradient
    temperatures = policy.temperatures(see(V, U))
    assert temperatures.teacher is temperatures.student
    assert temperatures.student.shape == ()
    assert temperatures.student.item() == golden(temperature)
    loss = softened_divergence(V, U, temperatures).mean()
    loss.backward()  # type: ignore[no-untyped-call]
    assert loss.item() == golden(value)
    assert policy.value.grad is not None
    assert policy.value.grad.item() == golden(slope)


@pytest.mark.parametrize(
    ("raw", "epoch", "gradient"),
    [
        (1, 1, "0.0001682"),
        (1, 5, "0.0034371"),
        (1, 10, "0.0068742"),
        (1, 100, "0.0068742"),
        (-4, 10, "-0.0619171"),
    ],
)
def test_ctkd_gradient_after_reversal(raw: float, epoch: int, gradient: str) -> None:
    policy = ctkd(raw)
    policy.begin_epoch(epoch)
    softened_divergence(V, U, policy.temperatures(see(V, U, epoch))).mean().backward()  # type: ignore[no-untyped-call]
    (parameter,) = policy.trainables()
    assert parameter.grad is not None
    assert parameter.grad.item() == golden(gradient)


def test_ctkd_climbs_to_the_temperature_of_the_largest_loss() -> None:
    """Section 0: the divergence of the golden input is largest at T = 2.81."""
    policy = ctkd()
    policy.begin_epoch(10)
    optimizer = torch.optim.SGD(policy.trainables(), lr=20.0)
    for _ in range(400):
        optimizer.zero_grad()
        softened_divergence(V, U, policy.temperatures(see(V, U))).mean().backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    assert policy.temperatures(see(V, U)).student.item() == pytest.approx(2.81, abs=0.01)


def test_ctkd_leaves_the_students_gradient_alone() -> None:
    gradients = []
    for learnt in (True, False):
        policy = ctkd()
        policy.begin_epoch(10)
        u = U.clone().requires_grad_()
        temperature = policy.temperatures(see(V, u)).student
        temperature = temperature if learnt else temperature.detach()
        softened_divergence(V, u, Temperatures.equal(temperature)).mean().backward()  # type: ignore[no-untyped-call]
        gradients.append(u.grad)
    assert gradients[0] is not None
    assert torch.equal(*gradients)  # type: ignore[arg-type]


def test_instance_ctkd_sets_one_temperature_an_instance() -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    policy = ctkd_instance(classes=10)
    assert torch.equal(torch.get_rng_state(), before)
    v, u = torch.randn(2, 16, 10)
    u.requires_grad_()
    policy.begin_epoch(10)
    temperatures = policy.temperatures(see(v, u))
    assert temperatures.student.shape == (16,)
    assert temperatures.student.unique().numel() == 16
    assert ((temperatures.student > 1) & (temperatures.student < 21)).all()
    assert temperatures.student.mean().item() == pytest.approx(15.62, abs=1.5)
    temperatures.student.sum().backward()
    assert u.grad is None  # the student does not learn to please the temperature
    for parameter in policy.trainables():
        assert parameter.grad is not None
        assert torch.isfinite(parameter.grad).all()


def test_instance_ctkd_depends_on_the_seed_alone() -> None:
    def weights(seed: int) -> Tensor:
        torch.rand(3)  # somebody else draws in between
        return torch.cat([parameter.flatten() for parameter in ctkd_instance(seed).trainables()])

    assert torch.equal(weights(0), weights(0))
    assert not torch.equal(weights(0), weights(1))


def test_instance_ctkd_raises_the_loss() -> None:
    torch.manual_seed(0)
    policy = ctkd_instance(classes=10)
    policy.begin_epoch(10)
    v, u = 3 * torch.randn(2, 16, 10)
    optimizer = torch.optim.SGD(policy.trainables(), lr=0.01)
    losses = []
    for _ in range(20):
        loss = softened_divergence(v, u, policy.temperatures(see(v, u))).mean()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] > losses[0]


# --- DTKD -------------------------------------------------------------------------------------------------------------


def test_dtkd_temperatures() -> None:
    temperatures = dtkd().temperatures(see(V, U))
    assert temperatures.teacher.tolist() == [golden("5.333333"), golden("5.0")]
    assert temperatures.student.tolist() == [golden("2.666667"), golden("3.0")]
    assert (temperatures.teacher * temperatures.student).tolist() == [golden("14.2222"), golden("15")]
    assert softened_divergence(V, U, temperatures).mean().item() == golden("0.1632475")


def test_dtkd_sharpness() -> None:
    """The gap shrinks and turns; it does not close."""
    temperatures = dtkd().temperatures(see(V, U))
    for logits, constant, dynamic, temperature in (
        (V, ["1.7546", "1.6650"], ["1.6394", "1.6045"], temperatures.teacher),
        (U, ["1.5991", "1.5514"], ["1.7241", "1.6131"], temperatures.student),
    ):
        assert (logits / 4).logsumexp(1).tolist() == [golden(text) for text in constant]
        assert (logits / temperature[:, None]).logsumexp(1).tolist() == [golden(text) for text in dynamic]


def test_dtkd_is_not_detached() -> None:
    u = U.clone().requires_grad_()
    temperatures = dtkd().temperatures(see(V, u))
    (attached,) = torch.autograd.grad(softened_divergence(V, u, temperatures).mean(), u)
    assert attached[0].tolist() == [golden(text) for text in ("-0.0413194", "0.0676458", "0.0560803", "-0.0348172")]
    constant = Temperatures(temperatures.teacher.detach(), temperatures.student.detach())
    (detached,) = torch.autograd.grad(softened_divergence(V, u, constant).mean(), u)
    assert detached[0, 0].item() == golden("-0.0889089")
    assert torch.allclose(detached[0, 1:], attached[0, 1:], rtol=1e-12)


def test_dtkd_invariants() -> None:
    torch.manual_seed(0)
    v, u = 4 * torch.rand(2, 16, 10, dtype=torch.float64) + 0.5
    x, s = v.amax(1), u.amax(1)
    teacher, student = dtkd(3.0).temperatures(see(v, u))
    assert torch.allclose(teacher + student, torch.full_like(x, 6.0), rtol=1e-12)
    assert torch.allclose(teacher / student, x / s, rtol=1e-12)
    assert torch.allclose(x / teacher, s / student, rtol=1e-12)
    scaled = dtkd(3.0).temperatures(see(7 * v, 7 * u))
    assert torch.allclose(scaled.teacher, teacher, rtol=1e-12)
    assert not torch.allclose(dtkd(3.0).temperatures(see(v + 1, u)).teacher, teacher)


def test_dtkd_of_equal_maxima_is_plain_kd() -> None:
    u = U.clone()
    u[torch.arange(2), Y] = V[torch.arange(2), Y]
    dynamic = softened_divergence(V, u, dtkd().temperatures(see(V, u)))
    plain = softened_divergence(V, u, Temperatures.equal(torch.tensor(4.0, dtype=torch.float64)))
    assert torch.allclose(dynamic, plain, rtol=1e-12)


@pytest.mark.parametrize("teacher", [-5.0, 0.0, 12.0])
@pytest.mark.parametrize("student", [-5.0, 0.0, 0.1, 12.0])
def test_dtkd_of_maxima_that_are_not_positive(teacher: float, student: float) -> None:
    v = torch.tensor([[teacher, teacher - 1, teacher - 9]])
    u = torch.tensor([[student, student - 2, student - 5]], requires_grad=True)
    temperatures = dtkd().temperatures(see(v, u))
    for value in temperatures:
        assert 0 < value.item() < 8
    loss = softened_divergence(v, u, temperatures).mean()
    loss.backward()  # type: ignore[no-untyped-call]
    assert torch.isfinite(loss)
    assert u.grad is not None
    assert u.grad.abs().max() < 100


# --- spread of the logits ---------------------------------------------------------------------------------------------


def test_the_spread_as_temperature_gives_the_distributions_of_standardised_logits() -> None:
    teacher, student = lskd_std().temperatures(see(V, U))
    assert not student.requires_grad
    assert torch.allclose((V / teacher[:, None]).softmax(1), (standardise(V) / 2).softmax(1), rtol=1e-6)
    assert torch.allclose((U / student[:, None]).softmax(1), (standardise(U) / 2).softmax(1), rtol=1e-6)
    divergence = softened_divergence(V, U, Temperatures(teacher, student)) / (teacher * student)
    assert (4 * divergence).mean().item() == golden("0.1772347")


def test_the_spread_carries_no_gradient_and_has_a_floor() -> None:
    u = torch.zeros(1, 4, requires_grad=True)
    teacher, student = lskd_std().temperatures(see(torch.ones(1, 4), u))
    assert teacher.item() == student.item() == pytest.approx(0.02)
    assert not student.requires_grad
    softened_divergence(V[:1].float(), u, Temperatures(teacher, student)).mean().backward()  # type: ignore[no-untyped-call]
    assert u.grad is not None
    assert torch.isfinite(u.grad).all()
