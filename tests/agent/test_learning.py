"""It learns: the agent finds the temperatures that an invented student rewards, from one reward a batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from agent_support import CLASSES, feedback_of, make_agent, make_options
from torch import Tensor

from rlkd_run.protocol import Observation

BATCH = 64


def teach(
    wanted: Callable[[Tensor], Tensor], updates: int, seed: int, preset: str = "paper", **changes: Any
) -> tuple[Tensor, Tensor]:
    """Run an agent for a number of updates; the reward of a step is -mean_i (T_i - wanted_i)^2.

    It comes in as the drop of the probe loss, through the same calls as in a run. Half of the student's logits are
    flat and half are peaked, so that there are states to tell apart.

    Returns:
        Student's confidence and temperature of the instances of the last 16 batches, [16, B] each.
    """
    options = make_options(preset, reward="probe", reward_credit="cause", **changes)
    steps = options.rollout_steps * updates + 1  # the probe's first value is no reward
    agent = make_agent(options, batch_size=BATCH, steps_per_epoch=steps + 1, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    probe_loss = torch.zeros((), dtype=torch.float64)
    index = torch.arange(BATCH)
    seen = []
    agent.begin_epoch(1)
    for step in range(steps + 1):
        sharpness = torch.where(torch.rand(BATCH, 1, generator=generator) < 0.5, 0.5, 6.0)
        student = sharpness * torch.randn(BATCH, CLASSES, generator=generator)
        teacher = 4 * torch.randn(BATCH, CLASSES, generator=generator)
        temperature = agent.temperatures(Observation(teacher, student, index % CLASSES, index, None, 1, step))
        confidence = student.softmax(1).amax(1)
        probe_loss = probe_loss + (temperature - wanted(confidence)).square().mean()
        agent.observe(feedback_of(probe_loss.float))
        seen.append((confidence, temperature))
    confidences, temperatures = zip(*seen[-16:], strict=True)
    assert agent.metrics()["updates"].item() == updates
    return torch.stack(confidences), torch.stack(temperatures)


def constant(target: float) -> Callable[[Tensor], Tensor]:
    return lambda confidence: torch.full_like(confidence, target)


# `uniform` is `none` to the last bit (test_calibration_in_ppo.py), so it learns whatever `none` learns. Networks of the
# full width take three times as long as those of a quarter: one case has them.
FULL_WIDTH, NARROW = {("lstm", 7.0, 0)}, 64


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("target", [4.0, 7.0])
@pytest.mark.parametrize("kind", ["none", "lstm"])
def test_finds_the_best_temperature(kind: str, target: float, seed: int) -> None:
    hidden = 256 if (kind, target, seed) in FULL_WIDTH else NARROW
    _, temperature = teach(
        constant(target), 150, seed, ppo={"actor_lr": 1e-3}, calibration={"kind": kind}, hidden=hidden
    )
    assert abs(temperature.mean().item() - target) < 0.5


def test_finds_a_temperature_for_each_kind_of_instance() -> None:
    confidence, temperature = teach(
        lambda confidence: torch.where(confidence > 0.5, 7.0, 4.0), 300, 0, ppo={"actor_lr": 1e-3}, hidden=NARROW
    )
    sure = confidence > 0.5
    assert temperature[sure].mean() - temperature[~sure].mean() >= 2


def test_one_that_acts_by_its_mean_learns_from_samples() -> None:
    for target in (4.0, 7.0):
        _, temperature = teach(constant(target), 150, 0, act="mean", ppo={"actor_lr": 1e-3}, hidden=NARROW)
        assert abs(temperature.mean().item() - target) < 0.5


def test_starts_outside_the_bands() -> None:
    for seed in range(3):
        _, temperature = teach(constant(4.0), 1, seed, ppo={"actor_lr": 1e-9})
        assert 4.5 < temperature.mean().item() < 6.5


def test_the_authors_code_does_not_learn() -> None:
    """Its expected policy gradient is zero (docs/rlkd.md): where it drifts to does not depend on what is rewarded."""
    means = {}
    for target in (4.0, 7.0):
        _, temperature = teach(constant(target), 150, 0, "official_code", ppo={"actor_lr": 1e-3}, hidden=NARROW)
        means[target] = temperature.mean().item()
    assert abs(means[4.0] - 4) > 0.5 or abs(means[7.0] - 7) > 0.5
    assert means[7.0] - means[4.0] < 1.5  # an agent that learns ends 3 apart
