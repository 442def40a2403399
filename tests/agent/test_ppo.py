"""Policy, squash and PPO's update."""

from __future__ import annotations

import math

import pytest
import torch
from agent_support import make_agent, make_options, run_epoch, watch_updates
from states import same
from torch import Tensor

from rlkd_run.agent import ppo as ppo_module
from rlkd_run.agent.actor_critic import Actor, Critic, gaussian_log_prob, squash
from rlkd_run.agent.ppo import PPO, Experience, clipped_surrogate, normalise
from rlkd_run.config.agent import PPOOptions


def networks(seed: int = 0) -> tuple[Actor, Critic]:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return Actor(3, 256, 1.0, -0.5), Critic(3, 256)


def options(**changes: float) -> PPOOptions:
    return make_options(ppo=changes).ppo


def experience(actor: Actor, steps: int = 4, batch: int = 8) -> Experience:
    generator = torch.Generator().manual_seed(0)
    states = torch.rand(steps, batch, 3, generator=generator)
    with torch.no_grad():
        actions = actor(states) + torch.randn(steps, batch, generator=generator)
        log_probs = actor.log_prob(actions, states)
    gains, returns = torch.randn(2, steps, batch, generator=generator)
    return Experience(states, actions, log_probs, gains, returns, torch.ones(steps, batch))


def test_networks_have_the_sizes_of_the_paper() -> None:
    actor, critic = networks()
    sizes = [(3, 256), (256, 256), (256, 1)]
    for network in (actor, critic):
        linear = [layer for layer in network.body if isinstance(layer, torch.nn.Linear)]
        assert [(layer.in_features, layer.out_features) for layer in linear] == sizes
        assert network(torch.rand(5, 7, 3)).shape == (5, 7)
    assert actor.log_std.item() == -0.5
    assert actor.log_std.requires_grad


@pytest.mark.parametrize("bound", [1.0, 3.0])
def test_the_mean_stays_within_its_bound(bound: float) -> None:
    actor = Actor(3, 8, bound, -0.5)
    with torch.no_grad():
        mean = actor(1e4 * torch.randn(100, 3))
    assert mean.abs().amax() <= bound
    assert mean.abs().amax() > 0.5 * bound


def test_temperatures_stay_within_their_range() -> None:
    actions = torch.tensor([-1e30, -50.0, -1.0, 0.0, 1.0, 50.0, 1e30])
    assert squash(actions, 1.0, 10.0).tolist() == pytest.approx([1, 1, 3.4204, 5.5, 7.5796, 10, 10], abs=1e-4)
    assert ((squash(actions, 1.1, 9.7) >= 1.1) & (squash(actions, 1.1, 9.7) <= torch.tensor(9.7))).all()


def test_log_probabilities_are_those_of_a_normal_distribution() -> None:
    actor, _ = networks()
    states, actions = torch.rand(5, 3), torch.randn(5)
    expected = torch.distributions.Normal(actor(states), actor.log_std.exp()).log_prob(actions)
    assert torch.allclose(actor.log_prob(actions, states), expected, atol=1e-6)
    assert gaussian_log_prob(torch.zeros(()), torch.zeros(()), torch.zeros(())).item() == pytest.approx(
        -0.5 * math.log(2 * math.pi)
    )


def test_advantages_are_normalised_over_what_is_real() -> None:
    x = torch.tensor([[1.0, 2.0, 99.0], [3.0, 6.0, -99.0]])
    mask = torch.tensor([[1.0, 1.0, 0.0], [1.0, 1.0, 0.0]])
    normal = normalise(x, mask)[mask.bool()]
    real = x[mask.bool()]
    assert torch.allclose(normal, (real - real.mean()) / real.std(correction=0))


def test_equal_advantages_teach_nothing() -> None:
    assert (normalise(torch.full((2, 3), 0.7), torch.ones(2, 3)).abs() < 10).all()
    assert torch.equal(normalise(torch.full((2, 2), 0.5), torch.ones(2, 2)), torch.zeros(2, 2))


def test_the_gradient_stops_outside_the_band() -> None:
    ratios = [0.5, 0.79, 0.81, 1.0, 1.19, 1.21, 2.0]
    for sign, expected in ((2.0, [2, 2, 2, 2, 2, 0, 0]), (-2.0, [0, 0, -2, -2, -2, -2, -2])):
        ratio = torch.tensor(ratios, requires_grad=True)
        clipped_surrogate(ratio, torch.full((7,), sign), 0.2).sum().backward()
        assert ratio.grad is not None
        assert ratio.grad.tolist() == expected


def test_the_ratio_is_exactly_1_on_the_first_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    ratios: list[Tensor] = []

    def watch(ratio: Tensor, advantages: Tensor, clip: float) -> Tensor:
        ratios.append(ratio.detach())
        return clipped_surrogate(ratio, advantages, clip)

    monkeypatch.setattr(ppo_module, "clipped_surrogate", watch)
    agent = make_agent(make_options(rollout_steps=4))
    run_epoch(agent, 1, 13)
    first, second = ratios[::5], ratios[1::5]
    assert len(ratios) == 3 * 5
    assert all(torch.equal(ratio, torch.ones_like(ratio)) for ratio in first)
    assert not any(torch.equal(ratio, torch.ones_like(ratio)) for ratio in second)


def test_a_single_pass_reports_no_divergence() -> None:
    agent = make_agent(make_options(rollout_steps=4, ppo={"passes": 1}))
    run_epoch(agent, 1, 9)
    metrics = agent.metrics()
    assert metrics["clip_fraction"] == 0
    assert metrics["approx_kl"] == 0


def test_what_pays_becomes_more_probable() -> None:
    actor, critic = networks()
    ppo = PPO(actor, critic, options())
    seen = experience(actor)
    for _ in range(5):
        ppo.update(seen)
    gain = actor.log_prob(seen.actions, seen.states) - seen.log_probs
    assert (gain * normalise(seen.advantages, seen.mask)).mean() > 0.02


def test_the_critic_learns_the_returns() -> None:
    actor, critic = networks()
    ppo = PPO(actor, critic, options())
    seen = experience(actor)
    seen = seen._replace(returns=seen.states.sum(dim=-1))
    losses = [ppo.update(seen)["critic_loss"].item() for _ in range(40)]
    assert losses[-1] < 0.02 * losses[0]


def test_padding_has_no_influence() -> None:
    results = []
    for filler in (0.0, 7.0):
        actor, critic = networks()
        seen = experience(actor)
        seen.mask[:, 5:] = 0.0
        for tensor in (seen.states, seen.actions, seen.log_probs, seen.advantages, seen.returns):
            tensor[:, 5:] = filler
        ppo = PPO(actor, critic, options())
        losses = ppo.update(seen)
        results.append((losses, actor.state_dict(), critic.state_dict()))
    assert torch.allclose(results[0][0]["actor_loss"], results[1][0]["actor_loss"], atol=1e-6)
    for (_, *left), (_, *right) in [(results[0], results[1])]:
        for a, b in zip(left, right, strict=True):
            assert all(torch.allclose(a[name], b[name], atol=1e-6) for name in a)


def test_gradients_are_clipped(monkeypatch: pytest.MonkeyPatch) -> None:
    norms = []
    original = ppo_module.clip_grad_norm_

    def watch(parameters: object, max_norm: float) -> Tensor:
        listed = list(parameters)  # type: ignore[call-overload]
        norm = original(listed, max_norm)
        norms.append((norm.item(), sum(p.grad.square().sum().item() for p in listed) ** 0.5))
        return norm

    monkeypatch.setattr(ppo_module, "clip_grad_norm_", watch)
    actor, critic = networks()
    seen = experience(actor)
    PPO(actor, critic, options()).update(seen._replace(returns=seen.returns * 1000))
    assert max(before for before, _ in norms) > 100
    assert max(behind for _, behind in norms) == pytest.approx(2.0, rel=1e-3)


def test_the_entropy_bonus_widens_the_policy() -> None:
    widths = []
    for bonus in (0.0, 0.5):
        actor, critic = networks()
        seen = experience(actor)
        PPO(actor, critic, options(entropy=bonus, actor_lr=1e-2)).update(
            seen._replace(advantages=torch.zeros_like(seen.advantages))
        )
        widths.append(actor.log_std.item())
    assert widths[0] == -0.5
    assert widths[1] > -0.5 + 0.03


def test_ratios_beyond_float32_leave_the_networks_finite() -> None:
    """As with the authors' log-probabilities, whose actions may lie many deviations off the mean."""
    actor, critic = networks()
    seen = experience(actor)
    losses = PPO(actor, critic, options()).update(seen._replace(log_probs=seen.log_probs - 200 * seen.mask))
    assert all(value.isfinite() for value in losses.values())
    assert all(parameter.isfinite().all() for parameter in actor.parameters())


def test_an_update_learns_from_what_the_agent_did() -> None:
    agent = make_agent(make_options(rollout_steps=4))
    updates = watch_updates(agent)
    chosen = run_epoch(agent, 1, 5)
    assert same(squash(updates[0].actions, 1.0, 10.0), torch.stack(chosen[:4]))
