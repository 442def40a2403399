"""Advantages and returns against a plain loop."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from rlkd_run.agent.returns import advantages, returns_to_go


def plain_loop(rewards: Tensor, values: Tensor, bootstrap: Tensor, discount: float, gae_lambda: float) -> Tensor:
    result = torch.zeros_like(rewards)
    following, gain = bootstrap, torch.zeros_like(bootstrap)
    for t in reversed(range(len(rewards))):
        gain = rewards[t] + discount * following - values[t] + discount * gae_lambda * gain
        result[t], following = gain, values[t]
    return result


@pytest.mark.parametrize("steps", [1, 2, 16, 64])
@pytest.mark.parametrize(("discount", "gae_lambda"), [(0.99, 0.95), (1.0, 1.0), (0.9, 0.0), (0.0, 0.5)])
def test_equals_a_plain_loop(steps: int, discount: float, gae_lambda: float) -> None:
    rewards, values = torch.randn(2, steps, 5, dtype=torch.float64).unbind()
    bootstrap = torch.randn(5, dtype=torch.float64)
    expected = plain_loop(rewards, values, bootstrap, discount, gae_lambda)
    assert torch.allclose(advantages(rewards, values, bootstrap, discount, gae_lambda), expected, rtol=1e-12)


def test_undiscounted_advantage_over_nothing_is_the_return_to_go() -> None:
    rewards = torch.randn(16, 3, dtype=torch.float64)
    nothing = torch.zeros_like(rewards)
    expected = rewards.flip(0).cumsum(0).flip(0)
    assert torch.allclose(advantages(rewards, nothing, nothing[0], 1.0, 1.0), expected)
    assert torch.allclose(returns_to_go(rewards, 1.0), expected)


def test_an_instance_that_is_missing_at_the_end_ends_before() -> None:
    rewards, values = torch.randn(2, 4, 1, dtype=torch.float64).unbind()
    rewards[3:] = values[3:] = 0.0
    whole = advantages(rewards, values, torch.zeros(1, dtype=torch.float64), 0.99, 0.95)
    shorter = advantages(rewards[:3], values[:3], torch.zeros(1, dtype=torch.float64), 0.99, 0.95)
    assert torch.allclose(whole[:3], shorter)
    assert whole[3].item() == 0
