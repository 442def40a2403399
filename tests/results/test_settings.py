from __future__ import annotations

import dataclasses
import typing
from collections.abc import Iterator
from typing import Any

import pytest
from omegaconf import MISSING

import rlkd_run.config.builtin  # noqa: F401 - registers the names
from rlkd_run.config.models import TeacherRecipe
from rlkd_run.config.registry import DATASETS, METHODS, TEMPERATURES
from rlkd_run.config.runconfig import _OPTIONS, TopLevel
from rlkd_run.results.settings import (
    EFFECTIVE_WITH,
    NEUTRAL,
    STUDENTS_RECIPE,
    beyond_networks,
    is_weak,
    settings_of,
    settled,
)


def declared(options: Any, prefix: str) -> Iterator[tuple[str, dataclasses.Field[Any], bool]]:
    """Dotted key, declaration and whether it is a group, of every option of a dataclass and below."""
    hints = typing.get_type_hints(options)
    for field in dataclasses.fields(options):
        group = [
            hint for hint in (hints[field.name], *typing.get_args(hints[field.name])) if dataclasses.is_dataclass(hint)
        ]
        yield f"{prefix}{field.name}", field, bool(group)
        for inner in group:
            yield from declared(inner, f"{prefix}{field.name}.")


def every_option() -> Iterator[tuple[str, dataclasses.Field[Any], bool]]:
    yield from declared(TopLevel, "")
    for group, options in _OPTIONS.items():
        yield from declared(options, f"{group}.")
    for group, registry in (("dataset", DATASETS), ("method", METHODS), ("temperature", TEMPERATURES)):
        for name in registry:
            yield from declared(registry[name].options, f"{group}.")


def test_neutral_values_are_those_declared() -> None:
    found: dict[str, object] = {}
    for key, field, group in every_option():
        neutral = field.metadata["neutral"]
        if not isinstance(neutral, str) or neutral != MISSING:
            if group:
                assert key in EFFECTIVE_WITH
            elif not is_weak(key):
                assert found.setdefault(key, neutral) == neutral
    assert found == NEUTRAL


def test_groups_act_with_what_is_declared() -> None:
    for key, field, _ in every_option():
        if field.metadata["when"] is not None:
            name, values = field.metadata["when"]
            assert {(f"{key.rpartition('.')[0]}.{name}", value) for value in values} <= set(EFFECTIVE_WITH[key])
    for key, choice in (pair for choices in EFFECTIVE_WITH.values() for pair in choices):
        (options,) = {field.metadata["choices"] for name, field, _ in every_option() if name == key}
        assert choice in options


def test_what_a_teacher_has_of_its_own_is_what_its_recipe_declares() -> None:
    assert {f"recipe.{field.name}" for field in dataclasses.fields(TeacherRecipe)} == STUDENTS_RECIPE


def test_what_cannot_change_a_result_is_weak() -> None:
    assert [key for key, field, _ in every_option() if not field.metadata["identity"] and not is_weak(key)] == []


def test_groups_without_effect_and_missing_options_tell_nothing() -> None:
    old = {"recipe.lr": 0.05}
    new = {"recipe.lr": 0.1, "recipe.schedule": "step", "recipe.tempbalance.low": 0.5, "teacher.nasty.omega": 0.1}
    assert settings_of([old, new], ["a", "b"]) == [("recipe.lr=0.05",), ("recipe.lr=0.1",)]
    active = {**new, "teacher.recipe.lr_policy": "tempbalance"}
    assert settings_of([new, active, {**active, "recipe.tempbalance.low": 2}], ["a", "b", "c"]) == [
        ("teacher.recipe.lr_policy=none",),
        ("recipe.tempbalance.low=0.5", "teacher.recipe.lr_policy=tempbalance"),
        ("recipe.tempbalance.low=2", "teacher.recipe.lr_policy=tempbalance"),
    ]


def test_answers_that_are_not_kept_have_no_precision() -> None:
    runs = [
        {"runtime.teacher_cache": kept, "runtime.teacher_cache_precision": precision}
        for kept, precision in (("none", "fp32"), ("none", "fp16"), ("lazy", "fp32"), ("lazy", "fp16"))
    ]
    *same, rounded = (settled(run) for run in runs)
    assert same[0] == same[1] == same[2] != rounded


def test_a_rate_that_follows_the_student_goes_with_the_networks() -> None:
    slow = {"student.model": "shufflenet_v1", "student.lr": 0.01, "recipe.lr": 0.01}
    assert "recipe.lr" not in beyond_networks(slow, ())
    assert beyond_networks({**slow, "recipe.lr": 0.05}, ())["recipe.lr"] == 0.05
    assert beyond_networks(slow, ["student.lr"])["recipe.lr"] == 0.01


@pytest.mark.parametrize(("method", "follows"), [("dkd", True), ("dtkd", True), ("kd", False), ("mine", False)])
def test_a_weight_that_a_method_chooses_by_the_networks_goes_with_them(method: str, follows: bool) -> None:
    config = {"method.name": method, "method.beta": 8.0}
    assert ("method.beta" not in beyond_networks(config, ())) is follows
    assert beyond_networks(config, ["method.beta"])["method.beta"] == 8.0


def test_what_a_given_teacher_was_not_trained_with_tells_nothing() -> None:
    given = {"teacher.checkpoint": "t.pth", "teacher.seed": 1, "teacher.recipe.lr": 0.1, "teacher.objective": "nasty"}
    trained = {"teacher.checkpoint": None, "teacher.seed": 0, "teacher.recipe.lr": 0.05}
    assert settings_of([given, {**given, "teacher.recipe.lr": 0.2}], ["a", "b"]) == [("cell=a",), ("cell=b",)]
    assert settings_of([given, trained], ["a", "b"]) == [("teacher.checkpoint=t.pth",), ("teacher.checkpoint=null",)]
    first, second = settings_of([trained, {**trained, "teacher.seed": 4}], ["a", "b"])
    assert (first, second) == (("teacher.seed=0",), ("teacher.seed=4",))
