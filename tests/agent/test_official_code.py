"""`agent=official_code` computes what the authors' public code does, its peculiarities included."""

from __future__ import annotations

import pytest
import torch
from agent_support import make_agent, make_options, observation, run_epoch, watch_updates, with_accuracy
from torch import Tensor

from rlkd_run.agent import Agent
from rlkd_run.agent.calibration import LinearModel
from rlkd_run.agent.ppo import Experience
from rlkd_run.agent.reward import epoch_factor, macro_accuracy
from rlkd_run.agent.state import Beliefs
from rlkd_run.protocol import Observation

RIGHT = [30, 10, 45, 20]


def beliefs(seen: Observation) -> Beliefs:
    return Beliefs(seen.teacher_logits, seen.student_logits, seen.target, torch.zeros(()))


def run(agent: Agent) -> tuple[list[Experience], Tensor, list[float]]:
    """An epoch: what was learnt, the temperatures, and the macro accuracies."""
    updates = watch_updates(agent)
    agent.begin_epoch(20)
    chosen, accuracies = [], []
    for step, right in enumerate(RIGHT):
        seen = with_accuracy(agent, step, right)
        chosen.append(agent.temperatures(seen))
        accuracies.append(macro_accuracy(seen.student_logits, seen.target).item())
    agent.end_epoch()
    return updates, torch.stack(chosen), accuracies


def plain_loop(reward: float, values: Tensor, discount: float, gae_lambda: float) -> tuple[Tensor, Tensor]:
    """One batch laid out as time: the reward is on the last instance, whose own value stands for what follows."""
    size = len(values)
    gains, returns = torch.zeros(size), torch.zeros(size)
    gain, following, to_go = 0.0, values[-1].item(), values[-1].item()
    for i in reversed(range(size)):
        now = reward if i == size - 1 else 0.0
        gain = now + discount * following - values[i].item() + discount * gae_lambda * gain
        to_go = now + discount * to_go
        gains[i], returns[i], following = gain, to_go, values[i].item()
    return gains, returns


def test_one_batch_is_an_update_with_the_reward_of_the_step_before() -> None:
    agent = make_agent(make_options("official_code"))
    untouched = make_agent(make_options("official_code"))
    updates, chosen, accuracies = run(agent)
    assert len(updates) == len(RIGHT) - 2  # no reward yet at the first step, none any more at the last
    for step, learnt in enumerate(updates, start=1):
        assert torch.equal(learnt.actions[0], chosen[step])
    reward = (accuracies[1] - accuracies[0]) * epoch_factor(20)
    seen = with_accuracy(agent, 1, RIGHT[1])
    states = untouched.features(beliefs(seen))
    with torch.no_grad():
        values = untouched.critic(states)
    gains, returns = plain_loop(reward, values, 0.99, 0.95)
    assert torch.allclose(updates[0].advantages[0], gains, atol=1e-4)
    assert torch.allclose(updates[0].returns[0], returns, atol=1e-4)


def test_the_log_probability_is_that_of_the_temperature() -> None:
    agent = make_agent(make_options("official_code"))
    untouched = make_agent(make_options("official_code"))
    updates, chosen, _ = run(agent)
    seen = with_accuracy(agent, 1, RIGHT[1])
    states = untouched.features(beliefs(seen))
    with torch.no_grad():
        policy = torch.distributions.Normal(untouched.actor(states), untouched.actor.log_std.exp())
    assert torch.allclose(updates[0].log_probs[0], policy.log_prob(chosen[1]), atol=1e-4)
    # the critical-state mask multiplies what the update sees, though not what the agent acted on
    factor = updates[0].states[0] / states
    assert ((factor > 0) & (factor < 1)).all()
    assert torch.allclose(factor, factor[:, :1].expand_as(factor), atol=1e-4)


def test_temperatures_have_no_lower_bound() -> None:
    agent = make_agent(make_options("official_code", log_std_start=2.0))
    agent.begin_epoch(1)
    temperature = agent.temperatures(observation(agent, 0))
    assert temperature.amin() < 0.5
    assert temperature.amax() <= 10


def test_the_margin_is_to_the_second_smallest_probability() -> None:
    agent = make_agent(make_options("official_code"))
    seen = observation(agent, 0)
    states = agent.features(beliefs(seen))
    p = seen.student_logits.softmax(1).sort(dim=1).values
    assert torch.allclose(states[:, 2], p[:, -1] - p[:, 1])


def test_linear_layers_stand_in_the_place_of_the_lstm() -> None:
    agent = make_agent(make_options("official_code"))
    model = agent.calibrator.models["sequence"]
    assert isinstance(model, LinearModel)
    assert not any(isinstance(module, torch.nn.LSTM) for module in model.modules())
    assert agent.options.calibration.loss == "square_of_mean"


def test_shares_never_reach_the_policy() -> None:
    """However the shares are computed, the policy learns the same."""
    chosen = []
    for kind in ("linear", "uniform"):
        agent = make_agent(make_options("official_code", calibration={"kind": kind, "critical_mask": False}))
        chosen.append(torch.stack(run_epoch(agent, 1, 6)))
        assert not agent.calibrator.decomposes
    assert torch.equal(*chosen)


def test_options_of_learning_and_exploration() -> None:
    agent = make_agent(make_options("official_code"))
    assert [group["lr"] for group in agent.ppo.actor_optimizer.param_groups] == [1e-4]
    assert [group["lr"] for group in agent.ppo.critic_optimizer.param_groups] == [1e-3]
    assert not agent.scores.per_instance
    assert agent.begin_epoch(1) is None  # the first agent-training epoch is not one of exploration
    agent.end_epoch()
    plan = agent.begin_epoch(240)
    assert plan is not None
    assert plan.labels == "low"
    assert agent.options.rollout_steps == 1


@pytest.mark.parametrize("change", [{"time_axis": "steps"}, {"calibration": {"reaches_ppo": True}}])
def test_its_parts_can_be_mended_one_by_one(change: dict[str, object]) -> None:
    agent = make_agent(make_options("official_code", **change))
    chosen = torch.stack(run_epoch(agent, 1, 5))
    assert chosen.isfinite().all()
    assert agent.metrics()["updates"] == 3
