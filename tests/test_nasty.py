"""The nasty teacher's loss: its value, its gradient, its bound, and what it takes to train one."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from golden import BATCH, U, V, Y, golden
from torch import Tensor, nn

from rlkd_run.config.composition import compose_command
from rlkd_run.config.models import NastyOptions
from rlkd_run.errors import ConfigError
from rlkd_run.nasty import Nasty, undermining
from rlkd_run.objectives import StepLosses
from rlkd_run.protocol import Batch

UNBOUNDED = 1e9


class Says(nn.Module):
    """Answers every batch with the same logits, which are its parameters."""

    def __init__(self, logits: Tensor) -> None:
        super().__init__()
        self.logits = nn.Parameter(logits.clone())

    def forward(self, images: Tensor) -> Tensor:
        return self.logits * 1


def nasty(v: Tensor, a: Tensor, omega: float, temperature: float, bound: float | None = UNBOUNDED) -> Nasty:
    return Nasty(Says(v), Says(a), NastyOptions(omega, temperature, bound, None), v.shape[1])


def total(losses: StepLosses) -> Tensor:
    return torch.stack(list(losses.parts.values())).sum()


@pytest.mark.parametrize(("omega", "temperature", "loss"), [(0.04, 4.0, "0.1993989"), (0.005, 20.0, "0.2165187")])
def test_the_loss(omega: float, temperature: float, loss: str) -> None:
    losses = nasty(V, U, omega, temperature).losses(BATCH, 1, 0)
    assert total(losses).item() == golden(loss)
    assert losses.parts["ce"].item() == golden("0.2185989")
    assert torch.equal(losses.logits, V)
    assert losses.temperature is None


@pytest.mark.parametrize(
    ("temperature", "forward", "reverse"), [(4.0, "0.4799989", "0.4676018"), (20.0, "0.4160393", "0.4110551")]
)
def test_the_teacher_comes_first_in_the_divergence(temperature: float, forward: str, reverse: str) -> None:
    scale = torch.tensor(temperature)
    assert undermining(V, U, scale, UNBOUNDED).mean().item() == golden(forward)
    assert undermining(U, V, scale, UNBOUNDED).mean().item() == golden(reverse)


def test_the_loss_pushes_away_from_the_adversary() -> None:
    objective = nasty(V, U, 0.04, 4.0)
    total(objective.losses(BATCH, 1, 0)).backward()
    v = V.clone().requires_grad_()
    share, other = (F.softmax(logits / 4, 1) for logits in (v, U))
    by_hand = F.cross_entropy(v, Y) - 0.04 * 16 * (share * (share / other).log()).sum(1).mean()
    by_hand.backward()
    assert torch.allclose(objective.model.logits.grad, v.grad)  # type: ignore[arg-type]


def test_without_omega_it_is_the_cross_entropy() -> None:
    objective = nasty(V, U, 0.0, 4.0)
    loss = total(objective.losses(BATCH, 1, 0))
    assert loss.item() == F.cross_entropy(V, Y).item()
    loss.backward()
    v = V.clone().requires_grad_()
    F.cross_entropy(v, Y).backward()
    assert torch.equal(objective.model.logits.grad, v.grad)  # type: ignore[arg-type]


def test_equal_networks_are_not_apart() -> None:
    v = V.clone().requires_grad_()
    apart = undermining(v, V, torch.tensor(4.0), 1.0)
    assert torch.allclose(apart, torch.zeros_like(apart), atol=1e-12)
    apart.sum().backward()
    assert torch.allclose(v.grad, torch.zeros_like(V), atol=1e-12)  # type: ignore[arg-type]


def test_an_instance_beyond_the_bound_gives_no_gradient() -> None:
    each = (undermining(V, U, torch.tensor(4.0), UNBOUNDED) / 16).tolist()
    assert each == [golden("0.0411062"), golden("0.0188936")]
    v = V.clone().requires_grad_()
    apart = undermining(v, U, torch.tensor(4.0), 0.03)
    assert apart.tolist() == pytest.approx([16 * 0.03, 16 * each[1]])
    apart.sum().backward()
    assert v.grad is not None
    assert not v.grad[0].any()
    assert v.grad[1].any()


@pytest.mark.parametrize(("bound", "nats"), [(None, math.log(4)), (0.5, 0.5)])
def test_the_loss_is_bounded_from_below(bound: float | None, nats: float) -> None:
    far = torch.tensor([[0.0, 0.0, 0.0, 500.0]], dtype=torch.float64)
    adversary = torch.tensor([[500.0, 0.0, 0.0, 0.0]], dtype=torch.float64)
    losses = nasty(far, adversary, 0.04, 4.0, bound).losses(replace(BATCH, target=torch.tensor([3])), 1, 0)
    assert losses.parts["undermining"].item() == pytest.approx(-0.04 * 16 * nats)
    assert losses.parts["ce"].item() == pytest.approx(0)


def problem() -> Batch:
    """Six clouds of points that a small network can tell apart."""
    generator = torch.Generator().manual_seed(0)
    target = torch.arange(120) % 6
    centres = 2 * torch.randn(6, 8, generator=generator)
    return Batch(centres[target] + 0.5 * torch.randn(120, 8, generator=generator), target, torch.arange(120))


def network(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(8, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(0.1), nn.Linear(32, 6))


def descend(model: nn.Module, objective: Nasty | None, steps: int) -> float:
    """Train by gradient descent, towards the labels without an objective; accuracy in percent at the end."""
    batch = problem()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    for step in range(steps):
        optimizer.zero_grad()
        if objective is None:
            loss = F.cross_entropy(model(batch.images), batch.target)
        else:
            loss = total(objective.losses(batch, 1, step))
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    logits = model.eval()(batch.images)
    assert torch.isfinite(logits).all()
    return float((logits.argmax(1) == batch.target).float().mean()) * 100


def test_the_adversary_is_left_alone() -> None:
    adversary, model = network(0).train(), network(1)
    before = {name: value.clone() for name, value in adversary.state_dict().items()}
    objective = Nasty(model, adversary, NastyOptions(0.04, 4.0, None, None), 6)
    objective.model.train()
    descend(model, objective, 3)
    assert not any(module.training for module in adversary.modules())
    assert all(parameter.grad is None for parameter in adversary.parameters())
    after = adversary.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    trained = [id(one) for group in objective.parameter_groups() for one in group["params"]]
    assert trained == [id(one) for one in model.parameters()]


def test_a_large_omega_costs_the_accuracy_unless_bounded() -> None:
    adversary = network(0)
    assert descend(adversary, None, 150) == 100
    accuracies = []
    for bound in (UNBOUNDED, 1.0):
        model = network(1)
        accuracies.append(descend(model, Nasty(model, adversary, NastyOptions(0.3, 4.0, bound, None), 6), 300))
    assert accuracies[0] < 50
    assert accuracies[1] > 95


@pytest.mark.parametrize(
    ("dataset", "omega", "temperature"),
    [("dataset=cifar10", 0.04, 4.0), ("dataset=cifar100", 0.005, 20.0), ("dataset=digits", 0.01, 20.0)],
)
def test_the_authors_values_of_a_data_set(dataset: str, omega: float, temperature: float) -> None:
    (config,) = compose_command([dataset, "teacher.objective=nasty"]).runs
    nasty = config.teacher.nasty
    assert nasty is not None
    assert (nasty.omega, nasty.temperature, nasty.max_divergence, nasty.adversary) == (omega, temperature, None, None)


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["teacher=timm", "teacher.model=resnet10t", "teacher.pretrained=true"], "takes a published one"),
        (["teacher.nasty.omega=-1"], "teacher.nasty.omega must be at least 0"),
        (["teacher.nasty.temperature=0"], "teacher.nasty.temperature must be greater than 0"),
        (["teacher.nasty.max_divergence=0"], "teacher.nasty.max_divergence must be greater than 0"),
        (["teacher.nasty=null"], "needs the options teacher.nasty"),
    ],
)
def test_what_cannot_be_is_refused(overrides: list[str], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        compose_command(["teacher.objective=nasty", *overrides])
