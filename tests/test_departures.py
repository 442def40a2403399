"""What a run changed of the yaml files that it chose is on record."""

from __future__ import annotations

import dataclasses

import pytest
from commands import only

from rlkd_run.departures import departures


@pytest.mark.parametrize(
    "overrides",
    [
        ["pair=wrn_40_2-shufflenet_v1", "recipe.epochs=24", "agent=official_code"],
        ["temperature=fixed_8", "method=dkd", "teacher=resnet32x4"],
        ["temperature=fixed", "agent.t_max=50"],  # the agent plays no part
        ["dataset=folder", "dataset.root=x", "teacher=timm", "teacher.model=resnet10t.c3_in1k", "student=resnet8"],
        ["dataset=imagenet", "dataset.root=x", "method=srrl", "recipe=imagenet"],
        ["dataset=digits", "pair=resnet50-mobilenet_v2", "method=dtkd"],
    ],
    ids=lambda overrides: overrides[0],
)
def test_what_follows_the_choices_is_none(overrides: list[str]) -> None:
    assert departures(only(*overrides)) == {}


def test_changes_are_named_with_both_values() -> None:
    run = only("agent.t_max=50", "agent.calibration.kind=none", "method.kl_weight=2", "recipe.lr=0.1")
    assert departures(run) == {
        "method.kl_weight": [2.0, 0.9],
        "agent.t_max": [50.0, 10.0],
        "agent.calibration.kind": ["none", "lstm"],
    }


def test_a_choice_of_somebody_elses_folder_cannot_be_judged() -> None:
    run = only()
    assert departures(dataclasses.replace(run, choices={**run.choices, "method": "mine"})) is None


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["dataset=digits", "student.lr=0.3"], {"student.lr": [0.3, 0.05]}),
        (["agent.calibration.trust=whole"], {"agent.calibration.trust": ["whole", "explained"]}),
        (["method=kd", "method.standardise=true"], {"method.standardise": [True, False]}),
        (["method=lskd", "method.standardise=false"], {"method.standardise": [False, True]}),
    ],
)
def test_a_value_that_stands_for_nothing_is_named(overrides: list[str], expected: dict[str, list[object]]) -> None:
    """Whether it is the run's or the yaml's, and left out of the identity."""
    assert departures(only(*overrides)) == expected
