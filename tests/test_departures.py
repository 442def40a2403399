"""What a run changed of the yaml files that it chose is on record."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from commands import only

from rlkd_run.config.composition import compose_command
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


OWN = {
    "method": ("name: kd\nce_weight: 0.1\nkl_weight: 0.9\nstandardise: true\n", {"method.standardise": [True, False]}),
    "agent": ("defaults: [paper, _self_]\nt_max: 20.0\n", {"agent.t_max": [20.0, 10.0]}),
    "temperature": ("defaults: [fixed, _self_]\n", {}),
    "student": ("defaults: [/_student@_here_, _self_]\nmodel: mobilenet_v2\nlr: 0.1\n", {"student.lr": [0.1, 0.01]}),
    "recipe": ("defaults: [cifar, _self_]\nbatch_size: 32\n", {}),  # which tables judge by themselves
}


@pytest.mark.parametrize("group", OWN)
def test_a_yaml_of_ones_own_is_held_against_the_shipped_one(group: str, tmp_path: Path) -> None:
    text, expected = OWN[group]
    (tmp_path / group).mkdir()
    (tmp_path / group / "mine.yaml").write_text(text)
    (run,) = compose_command([f"{group}=mine"], config_dirs=[str(tmp_path)]).runs
    assert departures(run) == expected


def test_a_class_of_ones_own_departs_from_nothing_and_the_rest_is_judged() -> None:
    run = only("agent.t_max=50", "method.kl_weight=2")
    own = dataclasses.replace(run.method, name="mine")
    run = dataclasses.replace(run, method=own, choices={**run.choices, "method": "mine"})
    assert departures(run) == {"agent.t_max": [50.0, 10.0]}


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
