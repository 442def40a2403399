"""Policies through the training loop's eyes."""

from __future__ import annotations

import pytest
import torch
from composed import composed

from rlkd_run.config.temperatures import FixedOptions, RLKDOptions
from rlkd_run.errors import ConfigError
from rlkd_run.protocol import Observation
from rlkd_run.temperature.base import PolicySetting
from rlkd_run.temperature.fixed import Fixed
from rlkd_run.temperature.rlkd import RLKD


def setting(*overrides: str, steps: int = 4) -> PolicySetting:
    config = composed("recipe.batch_size=8", *overrides)
    return PolicySetting(config, 10, 8 * steps, steps, torch.device("cpu"))


def observation(epoch: int, step: int) -> Observation:
    generator = torch.Generator().manual_seed(step)
    teacher, student = torch.randn(2, 8, 10, generator=generator)
    return Observation(
        teacher, student.requires_grad_(), torch.arange(8), torch.arange(8) + 8 * step, None, epoch, step
    )


def test_fixed_is_one_number() -> None:
    policy = Fixed(FixedOptions("fixed", 2.5), setting("temperature=fixed"))
    assert policy.begin_epoch(1) is None
    temperatures = policy.temperatures(observation(1, 0))
    assert temperatures.teacher.shape == temperatures.student.shape == ()
    assert temperatures.teacher.item() == temperatures.student.item() == 2.5
    policy.end_epoch()
    assert policy.metrics() == {}
    assert policy.trainables() == []


def test_rlkd_gives_one_temperature_an_instance_and_keeps_its_graph_to_itself() -> None:
    policy = RLKD(RLKDOptions("rlkd"), setting("agent.warmup_epochs=2", "agent.train_every=2"))
    policy.begin_epoch(1)
    assert torch.equal(policy.temperatures(observation(1, 0)).student, torch.full((8,), 4.0))
    policy.end_epoch()
    policy.begin_epoch(2)
    for step in range(4):
        temperatures = policy.temperatures(observation(2, step))
        assert temperatures.teacher is temperatures.student
        assert temperatures.student.shape == (8,)
        assert not temperatures.student.requires_grad
        assert ((temperatures.student > 1) & (temperatures.student < 10)).all()
    policy.end_epoch()
    metrics = policy.metrics()
    assert metrics["agent_updates"].item() == 1
    assert all(name.startswith("agent_") for name in metrics)


def test_an_epoch_of_one_step_is_refused() -> None:
    with pytest.raises(ConfigError, match="at least two steps an epoch"):
        RLKD(RLKDOptions("rlkd"), setting(steps=1))
