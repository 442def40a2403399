"""The loop: same seed, same bits; resumed anywhere, same bits; nothing in a step waits for the device."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from states import same, stored
from trainings import nothing, run_until, small
from waiting import NoWaiting

from rlkd_run.layer_rates import LayerRates
from rlkd_run.protocol import Batch, Feedback, MixPlan, Observation

POLICIES = {
    "fixed": ["temperature=fixed"],
    "rlkd": ["agent.warmup_epochs=2", "agent.train_every=2", "agent.rollout_steps=4"],
    "rlkd loss_drop": ["agent.reward=loss_drop", "agent.rollout_steps=4"],
    "rlkd probe": ["agent.reward=probe", "agent.probe_images=20", "agent.rollout_steps=4"],
    "official code": ["agent=official_code", "agent.warmup_epochs=1"],
    "random": ["temperature=random", "agent.warmup_epochs=2"],
    "linear": ["temperature=linear"],
    "ctkd": ["temperature=ctkd", "temperature.loops=2"],
    "ctkd_instance": ["temperature=ctkd_instance", "method=dkd"],
    "dtkd": ["temperature=dtkd", "method=dtkd"],
    "lskd_std": ["temperature=lskd_std", "method=dist"],
    "rlkd lskd": ["method=lskd", "agent.reward=loss_drop", "agent.rollout_steps=4"],
    "wttm": ["temperature=fixed", "method=wttm"],
    "annealing": ["temperature=fixed", "method=annealing"],
    "tempbalance": ["temperature=fixed", "recipe.lr_policy=tempbalance", "recipe.schedule=cosine"],
}


def test_other_seeds_end_in_other_bits() -> None:
    weights = []
    for seed in (0, 1):
        trainer = small("temperature=fixed", f"seed={seed}")
        trainer.run_epoch(nothing)
        weights.append(trainer.objective.model.state_dict())
    assert not same(*weights)


@pytest.mark.parametrize("policy", POLICIES.values(), ids=POLICIES)
def test_equal_seeds_end_in_equal_bits_stopped_and_resumed_or_not(policy: list[str]) -> None:
    undisturbed = small(*policy)
    run_until(undisturbed, 3, 0)
    first = small(*policy)
    run_until(first, 1, 3)
    state = stored(first.state_dict())
    torch.manual_seed(99)
    second = small(*policy)
    torch.manual_seed(98)
    second.load_state_dict(state)
    while second.epoch < 3:
        second.run_epoch(nothing)
    assert same(undisturbed.state_dict(), second.state_dict())


def test_a_run_goes_on_in_another_memory_layout() -> None:
    """On another device, say: momentum in the old layout would be read as other weights' by a fused update."""
    trained = []
    for second in ("true", "false"):
        first = small("temperature=fixed", "runtime.channels_last=true", "recipe.lr=0.002")
        run_until(first, 1, 3)
        trainer = small("temperature=fixed", f"runtime.channels_last={second}", "recipe.lr=0.002")
        trainer.load_state_dict(stored(first.state_dict()))
        for parameter, kept in trainer.optimizer.state.items():
            assert kept["momentum_buffer"].stride() == parameter.stride()
        run_until(trainer, 1, 0)
        trained.append(dict(trainer.objective.model.named_parameters()))
    for name, value in trained[0].items():
        torch.testing.assert_close(trained[1][name], value, rtol=1e-3, atol=1e-4)


def test_a_run_goes_on_where_fewer_gpus_are_in_sight(monkeypatch: pytest.MonkeyPatch) -> None:
    gpus = [torch.full((16,), number, dtype=torch.uint8) for number in range(4)]
    monkeypatch.setattr(torch.cuda, "get_rng_state", lambda device="cuda": gpus[torch.device(device).index or 0])
    monkeypatch.setattr(torch.cuda, "get_rng_state_all", lambda: list(gpus))

    def set_one(state: torch.Tensor, device: torch.device) -> None:
        gpus[device.index or 0] = state

    def set_all(states: list[torch.Tensor]) -> None:
        for number, state in enumerate(states):
            set_one(state, torch.device("cuda", number))

    monkeypatch.setattr(torch.cuda, "set_rng_state", set_one)
    monkeypatch.setattr(torch.cuda, "set_rng_state_all", set_all)
    trainer = small("temperature=fixed")
    trainer.device = torch.device("cuda")
    state = stored(trainer.state_dict())
    gpus[:] = [torch.full((16,), 99, dtype=torch.uint8)]
    trainer.load_state_dict(state)
    assert [gpu[0].item() for gpu in gpus] == [0]


@pytest.mark.parametrize("policy", POLICIES.values(), ids=POLICIES)
def test_nothing_in_a_step_waits_for_the_device(policy: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = small(*policy)
    trainer.run_epoch(nothing)  # the agent acts and learns in the second one
    monkeypatch.setattr(LayerRates, "update", lambda *arguments: None)  # waits, once an epoch, before its first step

    def refuse(*arguments: object, **options: object) -> None:
        raise AssertionError("a step waits for the device")

    for name in ("item", "cpu", "tolist", "numpy", "__bool__", "__float__", "__int__", "nonzero"):
        monkeypatch.setattr(torch.Tensor, name, refuse)
    with NoWaiting():
        trainer.run_epoch(nothing)


def test_the_watch_for_waiting_works() -> None:
    with NoWaiting(), pytest.raises(AssertionError, match="waits"):
        torch.ones(1).item()


def test_the_teacher_is_left_alone() -> None:
    trainer = small()
    teacher = trainer.objective.teacher.model  # type: ignore[attr-defined]
    before = {name: value.clone() for name, value in teacher.state_dict().items()}
    trainer.run_epoch(nothing)
    assert not teacher.training
    assert same(before, dict(teacher.state_dict()))
    assert all(parameter.grad is None for parameter in teacher.parameters())


def test_groups_with_a_rate_of_their_own_keep_their_proportion() -> None:
    trainer = small()
    trainer.optimizer.param_groups[0]["lr_factor"] = 0.5
    trainer.set_lr(0.2)
    assert trainer.optimizer.param_groups[0]["lr"] == 0.1


def test_a_loss_that_is_not_finite_is_flagged_with_its_step() -> None:
    trainer = small("temperature=fixed")
    original = trainer.objective.losses
    assert trainer.bad_step() is None

    def broken(batch: Batch, epoch: int, step: int, position: torch.Tensor | None = None) -> Any:
        losses = original(batch, epoch, step)
        return losses._replace(parts={"ce": losses.parts["ce"] * (float("nan") if step >= 4 else 1.0)})

    trainer.objective.losses = broken  # type: ignore[method-assign]
    trainer.run_epoch(nothing)
    assert trainer.bad_step() == 4


def test_looking_again_leaves_the_student_as_it_was() -> None:
    trainer = small("agent.reward=loss_drop", "agent.warmup_epochs=1", "agent.train_every=1")
    objective: Any = trainer.objective
    batch = next(iter(trainer.loader.epoch(1)))
    objective.model.train()
    before = {name: value.clone() for name, value in objective.model.state_dict().items()}
    again = objective.student.logits_again(batch.images)
    assert same(before, dict(objective.model.state_dict()))
    assert torch.equal(again, objective.model(batch.images))


def test_a_policy_is_shown_what_the_networks_gave_and_what_its_temperature_divides() -> None:
    """The agent's state and rewards are those of the networks, whatever a method does to logits."""
    trainer = small("method=lskd", "agent.reward=loss_drop", "agent.warmup_epochs=1", "agent.train_every=1")
    objective: Any = trainer.objective
    seen: list[Observation] = []
    dropped: list[torch.Tensor] = []
    act, observe = objective.policy.temperatures, objective.policy.observe

    def watch(observation: Observation) -> Any:
        seen.append(observation)
        return act(observation)

    def ask(feedback: Feedback) -> None:
        dropped.append(feedback.logits_again())
        observe(feedback)

    objective.policy.temperatures, objective.policy.observe = watch, ask
    batch = next(iter(trainer.loader.epoch(1)))
    objective.begin_epoch(1)
    objective.losses(batch, 1, 0)
    objective.after_update(batch)
    (observation,) = seen
    assert observation.raw is not None
    for given, raw in zip((observation.teacher_logits, observation.student_logits), observation.raw, strict=True):
        assert torch.allclose(given.std(1), torch.ones(()), atol=1e-2)
        assert not torch.allclose(given, raw, atol=1e-2)
    assert torch.allclose(dropped[0], observation.raw[1], atol=1e-5)  # nothing was updated
    states = objective.policy.agent.rollout.transitions().states
    assert torch.allclose(states[0, :, 0], observation.raw[0].softmax(1).amax(1), atol=1e-5)


def test_means_are_those_of_all_images() -> None:
    trainer = small("temperature=fixed", "temperature.value=3")
    seen: list[float] = []
    original = trainer.objective.losses

    def watch(batch: Batch, epoch: int, step: int, position: torch.Tensor | None = None) -> Any:
        losses = original(batch, epoch, step)
        seen.extend([sum(part.item() for part in losses.parts.values())] * len(batch.target))
        return losses

    trainer.objective.losses = watch  # type: ignore[method-assign]
    trainer.run_epoch(nothing)
    means = trainer.meter.read()
    assert len(seen) == 110
    assert means["loss"] == pytest.approx(sum(seen) / len(seen), rel=1e-5)
    assert means["t_mean"] == pytest.approx(3)


def test_exploration_reaches_the_loader() -> None:
    trainer = small("recipe.epochs=4", "agent.warmup_epochs=1", "agent.train_every=2")
    plans: list[MixPlan | None] = []
    original: Callable[[int], MixPlan | None] = trainer.objective.begin_epoch

    def watch(epoch: int) -> MixPlan | None:
        plans.append(original(epoch))
        return plans[-1]

    trainer.objective.begin_epoch = watch  # type: ignore[method-assign]
    run_until(trainer, 3, 0)
    assert [plan is not None for plan in plans] == [False, True, False]
