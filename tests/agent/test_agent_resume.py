"""The whole agent survives being saved and loaded, to the last bit, wherever it was."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from agent_support import make_agent, make_options, run_epoch, run_steps
from states import same, stored

from rlkd_run.config.agent import AgentOptions

STEPS = 14
CASES: dict[str, dict[str, Any]] = {
    "paper": {"rollout_steps": 4},
    "loss_drop": {"rollout_steps": 4, "reward": "loss_drop"},
    "probe": {"rollout_steps": 4, "reward": "probe", "reward_credit": "late"},
    "late": {"rollout_steps": 4, "reward": "macro_accuracy", "reward_credit": "late"},
    "masked": {"rollout_steps": 4, "calibration": {"critical_mask": True}},
    "no models": {"rollout_steps": 4, "calibration": {"kind": "uniform"}, "reward_scale": "none"},
    "official_code": {"preset": "official_code", "exploration": {"epochs": "early"}},
}


def options_of(case: str) -> AgentOptions:
    return make_options(**CASES[case])


@pytest.mark.parametrize(
    ("case", "interrupted_at"), [*((case, 7) for case in CASES), *(("paper", step) for step in (0, 1, 4, 5, 13))]
)
def test_a_loaded_agent_goes_on_as_if_nothing_had_happened(case: str, interrupted_at: int) -> None:
    undisturbed = make_agent(options_of(case))
    run_epoch(undisturbed, 1, STEPS)
    plan = undisturbed.begin_epoch(2)
    assert plan is not None
    run_steps(undisturbed, range(interrupted_at))
    state = stored(undisturbed.state_dict())
    assert (state["rollout"]["stored"] > 0) == (interrupted_at > 0)  # the rollout is open

    torch.manual_seed(99)
    loaded = make_agent(options_of(case))
    run_epoch(loaded, 5, 3)  # whatever it was before is overwritten
    loaded.load_state_dict(state)
    assert same(stored(loaded.state_dict()), state)
    again = loaded.begin_epoch(2)
    assert again is not None
    assert same(tuple(again), tuple(plan))
    assert torch.equal(loaded.noise, undisturbed.noise)

    chosen = []
    for agent in (undisturbed, loaded):
        temperatures = run_steps(agent, range(interrupted_at, STEPS), last_size=16)
        agent.end_epoch()
        chosen.append([*temperatures, *run_epoch(agent, 3, STEPS)])
    assert same(*chosen)
    assert same(stored(undisturbed.state_dict()), stored(loaded.state_dict()))
    assert same(undisturbed.metrics(), loaded.metrics())


def test_between_epochs_too() -> None:
    first = make_agent(options_of("paper"))
    run_epoch(first, 1, STEPS)
    second = make_agent(options_of("paper"))
    second.load_state_dict(stored(first.state_dict()))
    assert same(run_epoch(first, 2, STEPS), run_epoch(second, 2, STEPS))


def test_an_agent_that_has_not_begun_survives_too() -> None:
    first, second = make_agent(options_of("paper")), make_agent(options_of("paper"))
    second.load_state_dict(stored(first.state_dict()))
    assert same(run_epoch(first, 1, STEPS), run_epoch(second, 1, STEPS))


def test_what_was_loaded_is_the_agents_own() -> None:
    """A state that is kept, say as the best one, must not change under the agent."""
    first = make_agent(options_of("paper"))
    run_epoch(first, 1, STEPS)
    state = stored(first.state_dict())
    second = make_agent(options_of("paper"))
    second.load_state_dict(state)
    before = stored(state)
    run_epoch(second, 2, STEPS)
    assert same(before, state)


def test_a_state_of_something_else_is_refused() -> None:
    agent = make_agent()
    with pytest.raises(TypeError, match="meters"):
        agent.meters.load_state_dict({"sums": 3, "rewards": 0, "updates": 0})
