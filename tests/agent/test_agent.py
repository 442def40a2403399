"""The agent as a whole: what it chooses, when it acts and learns, and what it learns from."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from agent_support import (
    IMAGES,
    after,
    make_agent,
    make_options,
    observation,
    run_epoch,
    run_steps,
    watch_updates,
    with_accuracy,
)
from waiting import NoWaiting

from rlkd_run.agent.actor_critic import squash
from rlkd_run.agent.state import Beliefs
from rlkd_run.config.agent import STATE_FEATURES

METRICS = {
    "reward", "updates", "actor_loss", "critic_loss", "clip_fraction", "approx_kl", "calibration_loss", "action_std",
    "saturated",
}  # fmt: skip


@pytest.mark.parametrize("preset", ["paper", "official_code"])
@pytest.mark.parametrize("size", [1, 2, 16, 64])
def test_temperatures_and_metrics_are_finite_for_any_size_of_batch(size: int, preset: str) -> None:
    agent = make_agent(make_options(preset, rollout_steps=4 if preset == "paper" else 1), batch_size=size)
    for epoch in (1, 2):
        for temperature in run_epoch(agent, epoch, 10, size):
            assert temperature.shape == (size,)
            assert temperature.dtype == torch.float32
            assert not temperature.requires_grad
            assert ((temperature >= agent.options.t_min) & (temperature <= agent.options.t_max)).all()
    metrics = agent.metrics()
    assert metrics.keys() == METRICS | ({"calibration_trust"} if preset == "paper" else set())
    assert all(value.shape == () and value.isfinite() for value in metrics.values())
    for module in (agent.actor, agent.critic, agent.calibrator.models):
        assert all(parameter.isfinite().all() for parameter in module.parameters())


@pytest.mark.parametrize("reward", ["accuracy", "macro_accuracy", "loss_drop", "probe"])
@pytest.mark.parametrize("last_size", [1, 2, 16])
def test_a_short_last_batch_is_no_obstacle(reward: str, last_size: int) -> None:
    agent = make_agent(make_options(reward=reward, rollout_steps=4, state={"features": list(STATE_FEATURES)}))
    for steps in (12, 13, 14):  # the short batch follows a full rollout, is in one, or alone
        chosen = run_epoch(agent, steps, steps, last_size=last_size)
        assert chosen[-1].shape == (last_size,)
    assert all(parameter.isfinite().all() for parameter in agent.actor.parameters())


def test_nothing_but_the_range_bounds_a_temperature() -> None:
    agent = make_agent(make_options(log_std_start=4.0, t_min=2.0, t_max=3.0))
    agent.begin_epoch(1)
    temperature = agent.temperatures(observation(agent, 0))
    assert temperature.amin() == 2.0
    assert temperature.amax() == 3.0


def test_half_precision_around_the_agent_changes_nothing() -> None:
    chosen = []
    for enabled in (False, True):
        agent = make_agent(make_options(rollout_steps=4))
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            chosen.append(torch.stack(run_epoch(agent, 1, 12)))
    assert torch.equal(*chosen)


# --- when -------------------------------------------------------------------------------------------------------------


def test_who_acts_and_learns_when() -> None:
    agent = make_agent(make_options(warmup_epochs=20, train_every=20, rollout_steps=2))
    for epoch in (1, 19, 20, 21, 39, 40, 240):
        before = [parameter.clone() for parameter in agent.actor.parameters()]
        chosen = torch.stack(run_epoch(agent, epoch, 5))
        learnt = not all(torch.equal(a, b) for a, b in zip(before, agent.actor.parameters(), strict=True))
        assert agent.acting == (epoch >= 20)
        assert torch.equal(chosen, torch.full((5, 64), 4.0)) == (epoch < 20)
        assert agent.training == learnt == (epoch % 20 == 0)
        assert agent.metrics()["updates"] == (2 if epoch % 20 == 0 else 0)


def test_the_temperature_of_the_warm_up_is_an_option() -> None:
    agent = make_agent(make_options(warmup_epochs=2, warmup_temperature=2.5))
    assert torch.equal(torch.stack(run_epoch(agent, 1, 2)), torch.full((2, 64), 2.5))


def test_without_sampling_the_policys_mean_is_taken() -> None:
    agent = make_agent(make_options(act="mean", train_every=2))
    agent.begin_epoch(1)
    assert not agent.training
    seen = observation(agent, 0)
    states = agent.features(Beliefs(seen.teacher_logits, seen.student_logits, seen.target, torch.zeros(())))
    expected = squash(agent.actor(states), 1.0, 10.0)
    chosen = agent.temperatures(seen)
    assert torch.equal(chosen, expected)
    assert ((chosen > 3.42) & (chosen < 7.59)).all()


def test_noise_is_a_function_of_seed_and_epoch() -> None:
    def noise(seed: int, epoch: int) -> torch.Tensor:
        agent = make_agent(seed=seed)
        torch.manual_seed(17 * epoch + seed)  # the global stream has no say
        agent.begin_epoch(epoch)
        return agent.noise.clone()

    assert noise(0, 3).shape == (40, 64)
    assert torch.equal(noise(0, 3), noise(0, 3))
    assert not torch.equal(noise(0, 3), noise(0, 4))
    assert not torch.equal(noise(0, 3), noise(1, 3))


def test_making_an_agent_leaves_the_global_random_stream_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first = make_agent(seed=1)
    assert torch.equal(torch.rand(3), expected)
    second, third = make_agent(seed=1), make_agent(seed=2)
    assert torch.equal(first.actor.body[0].weight, second.actor.body[0].weight)
    assert not torch.equal(first.actor.body[0].weight, third.actor.body[0].weight)


# --- from what --------------------------------------------------------------------------------------------------------

RIGHT = [10, 20, 15, 40, 40, 64]
CHANGES = [(b - a) / 64 for a, b in pairwise(RIGHT)]


@pytest.mark.parametrize(("credit", "late"), [("cause", 0), ("late", 1)])
def test_a_reward_reaches_the_actions_that_caused_it(credit: str, late: int) -> None:
    """R_t = acc_{t+1} - acc_t belongs to step t; the authors' code gives it to step t + 1."""
    options = make_options(reward_credit=credit, reward_scale="none", calibration={"kind": "none"})
    agent = make_agent(options)
    updates = watch_updates(agent)
    agent.begin_epoch(1)
    chosen = torch.stack([agent.temperatures(with_accuracy(agent, step, right)) for step, right in enumerate(RIGHT)])
    agent.end_epoch()
    (learnt,) = updates
    steps = len(RIGHT) - 1 - late  # the last reward of an epoch does not exist
    assert torch.equal(squash(learnt.actions, 1.0, 10.0), chosen[late : late + steps])
    rewards = torch.tensor(CHANGES[:steps])
    assert agent.metrics()["reward"].item() == pytest.approx(rewards.mean().item())
    expected, following = torch.zeros(steps), 0.0
    with torch.no_grad():  # advantages by a plain loop; the epoch ends: nothing follows
        values = make_agent(options).critic(learnt.states)[:, 0]
    for t in reversed(range(steps)):
        next_value = values[t + 1] if t + 1 < steps else 0.0
        following = rewards[t] + 0.99 * next_value - values[t] + 0.99 * 0.95 * following
        expected[t] = following
    assert torch.allclose(learnt.advantages[:, 0], expected, atol=1e-6)
    assert torch.allclose(learnt.returns[:, 0], expected + values, atol=1e-6)


@pytest.mark.parametrize("reward", ["loss_drop", "probe"])
def test_a_reward_that_is_known_after_the_update_reaches_that_step(reward: str) -> None:
    agent = make_agent(make_options(reward=reward, rollout_steps=4))
    agent.begin_epoch(1)
    run_steps(agent, range(3))
    assert agent.rollout.rewarded == (3 if reward == "loss_drop" else 2)  # the first probe compares with nothing
    assert not agent.rollout.waiting


def test_a_full_rollout_is_worth_what_follows_it() -> None:
    """Instance by instance: where the next batch is shorter, nothing follows."""
    agent = make_agent(make_options(rollout_steps=2, reward_scale="none", calibration={"kind": "none"}))
    updates = watch_updates(agent)
    critic = make_agent().critic
    agent.begin_epoch(1)
    batches = [with_accuracy(agent, 0, 8), with_accuracy(agent, 1, 16), with_accuracy(agent, 2, 12, 16)]
    for seen in batches:
        agent.temperatures(seen)
    (learnt,) = updates
    last = batches[-1]
    with torch.no_grad():
        values = critic(learnt.states)
        bootstrap = torch.zeros(64)
        beliefs = Beliefs(last.teacher_logits, last.student_logits, last.target, torch.zeros(()))
        bootstrap[:16] = critic(agent.features(beliefs))
    expected = (12 / 16 - 16 / 64) + 0.99 * bootstrap - values[1]
    assert torch.allclose(learnt.advantages[1], expected, atol=1e-6)


def test_rewards_are_centred_and_scaled_by_what_was_seen() -> None:
    options = make_options(rollout_steps=64, calibration={"kind": "none"}, ppo={"discount": 0.0})
    agent = make_agent(options)
    updates = watch_updates(agent)
    agent.begin_epoch(1)
    for step, right in enumerate(RIGHT):
        agent.temperatures(with_accuracy(agent, step, right))
    agent.end_epoch()
    rewards = torch.tensor(CHANGES)
    expected = (rewards - rewards.mean()) / rewards.std(correction=0)
    assert torch.allclose(updates[0].returns, expected[:, None].expand(-1, 64), atol=1e-5)


def test_a_rollout_does_not_cross_the_end_of_an_epoch() -> None:
    agent = make_agent(make_options(rollout_steps=16))
    updates = watch_updates(agent)
    for epoch in (1, 2):
        run_epoch(agent, epoch, 20)
    assert [len(update.actions) for update in updates] == [16, 3, 16, 3]
    assert agent.rollout.stored == 0


def test_an_epoch_of_one_batch_teaches_nothing() -> None:
    agent = make_agent()
    updates = watch_updates(agent)
    run_epoch(agent, 1, 1)
    assert updates == []
    assert agent.metrics().keys() == {"updates", "saturated", "action_std"}


def test_meters_are_means_over_the_epoch() -> None:
    agent = make_agent(make_options(rollout_steps=2))
    agent.begin_epoch(1)
    for step, right in enumerate(RIGHT):
        agent.temperatures(with_accuracy(agent, step, right))
    agent.end_epoch()
    metrics = agent.metrics()
    assert metrics["updates"] == 3
    assert metrics["reward"].item() == pytest.approx(sum(CHANGES) / 5)
    agent.begin_epoch(2)
    assert agent.metrics().keys() == {"updates", "saturated", "action_std"}


def test_a_mean_at_its_bound_is_told_in_every_epoch_that_acts() -> None:
    agent = make_agent(make_options(warmup_epochs=2, train_every=4))
    last = agent.actor.body[-1]
    assert isinstance(last, torch.nn.Linear)
    run_epoch(agent, 1, 3)
    assert "saturated" not in agent.metrics()
    for epoch, bias in ((2, 0.0), (3, 9.0), (4, -9.0), (5, 0.0)):
        with torch.no_grad():
            last.weight.zero_()
            last.bias.fill_(bias)
        run_epoch(agent, epoch, 3, last_size=2)
        assert agent.metrics()["saturated"] == (bias != 0)


def test_a_part_of_the_means_is_at_the_bound() -> None:
    agent = make_agent()
    agent.begin_epoch(1)
    assert agent.metrics()["saturated"] == 0
    for means in ([0.91, -0.91, 0.89, 0.0], [-0.89, -0.95]):
        agent.meters.act(agent.actor.at_bound(torch.tensor(means) * agent.options.mean_bound))
    assert agent.metrics()["saturated"].item() == pytest.approx(3 / 6)


# --- what it must not do ----------------------------------------------------------------------------------------------


def test_gradients_of_agent_and_student_never_meet() -> None:
    agent = make_agent(make_options(rollout_steps=2, reward="loss_drop"))
    weight = torch.ones((), requires_grad=True)
    parameters = [*agent.actor.parameters(), *agent.critic.parameters(), *agent.calibrator.models.parameters()]
    agent.begin_epoch(1)
    for step in range(7):
        seen = observation(agent, step)
        student = seen.student_logits * weight
        student.retain_grad()
        temperature = agent.temperatures(observation(agent, step, student_logits=student))
        agent.observe(after(agent, observation(agent, step, student_logits=student)))
        assert student.grad is None
        assert weight.grad is None
        before = [None if p.grad is None else p.grad.clone() for p in parameters]
        (student.log_softmax(1)[:, 0] * temperature).sum().backward()
        assert weight.grad is not None
        weight.grad = None
        for p, grad in zip(parameters, before, strict=True):
            assert (p.grad is None and grad is None) or torch.equal(p.grad, grad)  # type: ignore[arg-type]
    assert agent.meters.updates == 3  # it did learn meanwhile


@pytest.mark.parametrize("preset", ["paper", "official_code"])
@pytest.mark.parametrize("reward", ["accuracy", "macro_accuracy", "loss_drop", "probe"])
def test_nothing_in_a_training_epoch_waits_for_the_device(reward: str, preset: str) -> None:
    agent = make_agent(make_options(preset, reward=reward, exploration={"epochs": "early"}))
    run_epoch(agent, 1, 4)
    with NoWaiting():
        run_epoch(agent, 2, 18 if preset == "paper" else 5, last_size=16)
        metrics = agent.metrics()
    assert metrics["updates"] > 0


def test_an_index_beyond_the_training_set_is_an_error() -> None:
    agent = make_agent()
    agent.begin_epoch(1)
    with pytest.raises((IndexError, RuntimeError)):
        agent.temperatures(observation(agent, 0, index=torch.full((64,), IMAGES)))
