"""Annealing-KD: the schedule of its logits, its two phases, and the weights that the second begins with."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from composed import composed
from golden import BATCH, U, V, golden
from torch import nn

from rlkd_run import teachers
from rlkd_run.config.composition import compose_command
from rlkd_run.config.methods import AnnealingOptions
from rlkd_run.errors import ConfigError
from rlkd_run.experiment import build, open_data
from rlkd_run.methods.annealing import Annealing, annealing
from rlkd_run.methods.base import Setting
from rlkd_run.protocol import Outputs, Temperatures
from rlkd_run.schedule import Phase, Schedule
from rlkd_run.training import Trainer

CPU = torch.device("cpu")


def method(regression: int = 200, epochs: int = 400, start: str = "last") -> Annealing:
    nothing = nn.Identity()
    options = AnnealingOptions("annealing", regression, 10, start)
    return Annealing(options, Setting(nothing, nothing, 4, 2, (3, 1, 1), epochs))


def test_the_teachers_logits_grow_in_ten_steps() -> None:
    grown = [annealing(epoch, 200, 10) for epoch in range(1, 201)]
    assert grown == [step / 10 for step in range(1, 11) for _ in range(20)]


@pytest.mark.parametrize("epochs", [1, 3, 9, 10, 11, 205])
def test_they_never_pass_their_full_size_and_reach_it(epochs: int) -> None:
    grown = [annealing(epoch, epochs, 10) for epoch in range(1, epochs + 1)]
    assert grown == sorted(grown)
    assert grown[-1] == 1


@pytest.mark.parametrize(("epoch", "value"), [(1, "0.945"), (100, "0.125"), (200, "1.125")])
def test_regression(epoch: int, value: str) -> None:
    first = Outputs(U[:1]), Outputs(V[:1])
    parts = method()(*first, BATCH, Temperatures.equal(torch.tensor(4.0)), epoch)
    assert list(parts) == ["regression"]
    assert parts["regression"].item() == golden(value)


def test_phases() -> None:
    assert method(3, 5, "best").phases() == (Phase(3), Phase(2, labels_only=True, start="best"))
    annealed = ["method=annealing", "temperature=fixed", "recipe.epochs=4,5", "method.regression_epochs=5"]
    with pytest.raises(ConfigError, match=r"regression_epochs=5 leaves no epoch of recipe\.epochs=5 to the second"):
        compose_command(annealed)  # before the first of its jobs
    compose_command([*annealed, "task=train_teacher"])


def test_the_best_start_needs_a_validation_split() -> None:
    with pytest.raises(ConfigError, match=r"method\.start=best needs a validation split"):
        compose_command(["method=annealing", "temperature=fixed", "method.start=best"])


def trainer(*overrides: str) -> Trainer:
    small = ["dataset=digits", "dataset.train_limit=110", "teacher=resnet14", "student=resnet8", "recipe.epochs=4",
             "recipe.batch_size=16", "method=annealing", "temperature=fixed"]  # fmt: skip
    config = composed(*small, *overrides)
    dataset = open_data(config, CPU)
    objective = build(config, dataset, teachers.build(config, dataset, CPU), CPU)
    return Trainer(objective, dataset.train_batches(16, 0), Schedule.of(config.recipe), CPU)


def weights(one: Trainer) -> dict[str, Any]:
    return {name: value.clone() for name, value in one.objective.model.state_dict().items()}


def same(left: dict[str, Any], right: dict[str, Any]) -> bool:
    return all(torch.equal(value, right[name]) for name, value in left.items())


def test_the_second_phase_has_a_fresh_optimiser_and_no_teacher(monkeypatch: pytest.MonkeyPatch) -> None:
    one = trainer()
    for _ in range(2):
        one.run_epoch(lambda: None)
    assert "loss_regression" in one.meter.read()
    assert one.optimizer.state
    seen: list[bool] = []
    step = one.optimizer.step
    monkeypatch.setattr(one.optimizer, "step", lambda: (seen.append(bool(one.optimizer.state)), step()))
    objective: Any = one.objective
    monkeypatch.setattr(objective, "teacher", None)
    one.run_epoch(lambda: None)
    assert seen[:2] == [False, True]
    assert set(one.meter.read()) >= {"loss_ce"}
    assert one.optimizer.param_groups[0]["lr"] == 0.05  # the schedule has begun anew


@pytest.mark.parametrize("accuracies", [(60.0, 50.0), (50.0, 60.0)])
def test_the_second_phase_may_begin_with_the_best_weights(accuracies: tuple[float, float]) -> None:
    one = trainer("dataset.val_split=0.1", "method.start=best")
    after: list[dict[str, Any]] = []
    for accuracy in accuracies:
        one.run_epoch(lambda: None)
        one.note_validation(accuracy)
        after.append(weights(one))
    other = trainer("dataset.val_split=0.1", "method.start=best")
    other.load_state_dict(one.state_dict())  # a resume between the phases
    begun: list[dict[str, Any]] = []
    losses = other.objective.losses

    def watch(*arguments: Any) -> Any:
        begun.append(weights(other))
        return losses(*arguments)

    other.objective.losses = watch  # type: ignore[method-assign]
    other.run_epoch(lambda: None)
    assert same(begun[0], after[accuracies.index(60.0)])
    assert not same(begun[0], after[accuracies.index(50.0)])
