"""A method and a policy of one's own in the training loop: what is kept of them, and what is said of their mistakes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from states import same, stored
from test_training import make, nothing, run_until
from torch import Tensor, nn

from rlkd_run.objectives import Distillation
from rlkd_run.protocol import Observation, Temperatures
from rlkd_run.temperature.base import Policy
from rlkd_run.training import Trainer


class Own(Policy):
    """One learnt temperature, and no word of it in a state of its own."""

    def __init__(self) -> None:
        self.raw = nn.Parameter(torch.tensor(4.0))

    def temperatures(self, observation: Observation) -> Temperatures:  # noqa: ARG002
        return Temperatures.equal(self.raw.abs() + 1)

    def trainables(self) -> list[nn.Parameter]:
        return [self.raw]


class Counting(Own):
    """It also counts, and what it says of itself is that alone."""

    steps = 0

    def state_dict(self) -> dict[str, Any]:
        return {"steps": self.steps}


def trainer_with(policy: Policy, monkeypatch: pytest.MonkeyPatch) -> Trainer:
    monkeypatch.setattr("rlkd_run.temperature.fixed.Fixed.__new__", lambda *arguments: policy)
    return make("temperature=fixed")


@pytest.mark.parametrize("kind", [Own, Counting])
def test_what_a_policy_trains_is_in_every_checkpoint(kind: type[Own], monkeypatch: pytest.MonkeyPatch) -> None:
    undisturbed = trainer_with(kind(), monkeypatch)
    run_until(undisturbed, 2, 0)
    first = trainer_with(kind(), monkeypatch)
    run_until(first, 1, 3)
    second = trainer_with(kind(), monkeypatch)
    second.load_state_dict(stored(first.state_dict()))
    run_until(second, 1, 0)
    assert same(undisturbed.state_dict(), second.state_dict())


def test_a_checkpoint_of_an_earlier_form_is_taken_up() -> None:
    first = make("temperature=ctkd")
    first.run_epoch(nothing)
    state = stored(first.state_dict())
    del state["objective"]["trainables"]
    second = make("temperature=ctkd")
    second.load_state_dict(state)
    assert same(first.state_dict(), second.state_dict())
