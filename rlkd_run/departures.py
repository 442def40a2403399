"""Where a run's method, temperature, agent and student are not what the shipped yaml files say."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

from rlkd_run.config.composition import compose_one
from rlkd_run.config.identity import relevant
from rlkd_run.config.runconfig import RunConfig
from rlkd_run.config.shipped import config_folder
from rlkd_run.errors import ConfigError
from rlkd_run.flat import flatten

_GROUPS = ("dataset", "teacher", "student", "method", "temperature", "agent", "recipe")


def departures(config: RunConfig) -> dict[str, list[Any]] | None:
    """Compare with what the same choices compose to when nothing else is said.

    A yaml of the user's own is held against the shipped one of what it configures, e.g. `method/kd.yaml` where it says
    ``name: kd``; where there is none, a class of the user's own, nothing departs from anything. What follows other
    options (the agent's schedule the epochs, a weight the networks) follows them there as well.

    Returns:
        Dotted key -> its value and the yaml's; None where the shipped choices do not compose by themselves.
    """
    shipped = {group: choice for group in _GROUPS if (choice := _shipped(config, group)) is not None}
    models = [f"teacher.model='{config.teacher.model}'", f"student.model='{config.student.model}'"]
    places = ["dataset.root=."] if hasattr(config.dataset, "root") else []
    choices = (f"{group}={choice}" for group, choice in shipped.items())
    try:
        expected = _composed(
            (*choices, *models, *places, f"recipe.epochs={config.recipe.epochs}"), tuple(config.plugins)
        )
    except ConfigError:
        return None
    found: dict[str, list[Any]] = {}
    for group in ("method", "temperature", "student", *(["agent"] if config.uses_agent else [])):
        if group not in shipped:
            continue
        both = [getattr(run, group) for run in (config, expected)]
        here, there = (flatten(dataclasses.asdict(options), f"{group}.") for options in both)
        # A value that stands for nothing is no relevant one, and departs all the same from a yaml that says something.
        keys = {key: None for options in both for key in flatten(relevant(options), f"{group}.")}
        found |= {key: [here.get(key), there.get(key)] for key in keys if here.get(key) != there.get(key)}
    return found


def _shipped(config: RunConfig, group: str) -> str | None:
    """The yaml of a group that a run chose, or else the one of what it configures; None: neither is shipped."""
    named = {
        "teacher": (config.teacher.model, config.teacher.source),
        "student": (config.student.model, config.student.source),
        "agent": ("paper",),
    }.get(group, (getattr(getattr(config, group), "name", None),))
    candidates = (config.choices.get(group), *named)
    return next((one for one in candidates if one and (config_folder() / group / f"{one}.yaml").is_file()), None)


@functools.lru_cache(maxsize=32)
def _composed(overrides: tuple[str, ...], plugins: tuple[str, ...]) -> RunConfig:
    return compose_one(overrides, plugins)
