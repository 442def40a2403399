"""What calibration hands to PPO: whatever the kind, a batch's shares sum to its reward."""

from __future__ import annotations

import pytest
import torch
from agent_support import make_agent, make_options, run_epoch, watch_updates
from torch import Tensor

from rlkd_run.agent.calibration import Calibrator, even_shares

CPU = torch.device("cpu")


def batches(sizes: list[int]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """States, actions, mask and a reward that depends on the states and actions."""
    generator = torch.Generator().manual_seed(sum(sizes))
    n, width = len(sizes), max(sizes)
    mask = (torch.arange(width) < torch.tensor(sizes)[:, None]).float()
    states = torch.rand(n, width, 3, generator=generator) * mask[..., None]
    actions = (2 * torch.rand(n, width, generator=generator) - 1) * mask
    rewards = 0.03 + 0.1 * (actions * states[..., 0]).sum(dim=1) / mask.sum(dim=1) ** 0.5
    return states, actions, mask, rewards


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("sizes", [[1], [1, 1, 1, 1], [2, 2, 2], [64] * 15 + [16], [16], [5, 3, 1]], ids=str)
@pytest.mark.parametrize("kind", ["lstm", "linear", "uniform"])
def test_shares_of_a_fitted_model_sum_to_the_reward(kind: str, sizes: list[int], dtype: torch.dtype) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        calibrator = Calibrator(make_options(calibration={"kind": kind, "lr": 1e-2, "steps": 60}).calibration, 3, CPU)
    calibrator.models.to(dtype)
    states, actions, mask, rewards = (x.to(dtype) for x in batches(sizes))
    mean, std = rewards.mean(), rewards.std(correction=0) if len(sizes) > 1 else rewards.new_ones(())
    calibrator.fit(states, actions, (rewards - mean) / std, mask)
    shares, _ = calibrator.shares(states, actions, rewards, mask, mean, std)
    # where large shares of both signs cancel to a small reward, rounding is measured by the shares
    relative, rounding = (1e-5, 1e-7) if dtype == torch.float32 else (1e-12, 1e-15)
    error = (shares.sum(dim=1) - rewards).abs()
    assert (error <= relative * rewards.abs() + rounding * shares.abs().sum(dim=1)).all()
    assert (shares[mask == 0] == 0).all()
    assert shares.dtype == dtype
    assert not shares.requires_grad
    if kind == "lstm" and len(sizes) > 3 and max(sizes) > 1:
        assert not torch.allclose(shares, even_shares(rewards, mask))  # the sum holds for shares that differ


@pytest.mark.parametrize("kind", ["lstm", "linear", "uniform", "none"])
@pytest.mark.parametrize("last_size", [64, 16])
def test_rewards_of_a_batch_have_its_reward_as_mean(kind: str, last_size: int) -> None:
    options = make_options(
        rollout_steps=8,
        reward="probe",
        reward_scale="none",
        ppo={"discount": 0.0},  # a return is then the reward itself
        calibration={"kind": kind, "lr": 1e-2},
    )
    agent = make_agent(options)
    updates = watch_updates(agent)
    rewards: list[Tensor] = []
    original = agent.rollout.reward

    def note(value: Tensor) -> None:
        rewards.append(value)
        original(value)

    agent.rollout.reward = note  # type: ignore[method-assign]
    run_epoch(agent, 1, 25, last_size=last_size)
    returns, mask = torch.cat([update.returns for update in updates]), torch.cat([update.mask for update in updates])
    assert len(rewards) == len(returns) == 24
    assert mask[-1].sum() == last_size
    means = (returns * mask).sum(dim=1) / mask.sum(dim=1)
    assert torch.allclose(means, torch.stack(rewards), rtol=1e-5, atol=1e-6)
    if kind in ("uniform", "none"):
        assert torch.allclose(returns * mask, means[:, None] * mask, atol=1e-6)


def test_uniform_shares_teach_what_no_calibration_teaches() -> None:
    """With 64 instances, a power of 2, to the last bit: what one of both learns, the other does."""
    chosen = []
    for kind in ("uniform", "none"):
        agent = make_agent(make_options(rollout_steps=4, calibration={"kind": kind}))
        chosen.append(torch.stack(run_epoch(agent, 1, 20)))
    assert torch.equal(*chosen)


@pytest.mark.parametrize(("kind", "fitted"), [("lstm", True), ("linear", True), ("uniform", False), ("none", False)])
def test_only_models_have_a_loss(kind: str, fitted: bool) -> None:
    agent = make_agent(make_options(rollout_steps=4, calibration={"kind": kind}))
    run_epoch(agent, 1, 9)
    assert ("calibration_loss" in agent.metrics()) == fitted
    assert ("calibration_trust" in agent.metrics()) == fitted
