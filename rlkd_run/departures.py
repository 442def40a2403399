"""Where a run's method, temperature, agent and student are not what the yaml files that it chose say."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

from rlkd_run.config.composition import compose_one
from rlkd_run.config.identity import relevant
from rlkd_run.config.runconfig import RunConfig
from rlkd_run.errors import ConfigError
from rlkd_run.results.settings import flatten

_GROUPS = ("dataset", "teacher", "student", "method", "temperature", "agent", "recipe")


def departures(config: RunConfig) -> dict[str, list[Any]] | None:
    """Compare with what the same choices compose to when nothing else is said.

    What follows other options (the agent's schedule the epochs, a weight the networks) follows them there as well.

    Returns:
        Dotted key -> its value and the yaml's; None where the choices do not compose by themselves, as those of the
        user's own folders.
    """
    choices = (f"{group}={config.choices[group]}" for group in _GROUPS if group in config.choices)
    models = [f"teacher.model='{config.teacher.model}'", f"student.model='{config.student.model}'"]
    places = ["dataset.root=."] if hasattr(config.dataset, "root") else []
    try:
        shipped = _composed(
            (*choices, *models, *places, f"recipe.epochs={config.recipe.epochs}"), tuple(config.plugins)
        )
    except ConfigError:
        return None
    found: dict[str, list[Any]] = {}
    for group in ("method", "temperature", "student", *(["agent"] if config.uses_agent else [])):
        both = [getattr(run, group) for run in (config, shipped)]
        here, there = (flatten(dataclasses.asdict(options), f"{group}.") for options in both)
        # A value that stands for nothing is no relevant one, and departs all the same from a yaml that says something.
        keys = {key: None for options in both for key in flatten(relevant(options), f"{group}.")}
        found |= {key: [here.get(key), there.get(key)] for key in keys if here.get(key) != there.get(key)}
    return found


@functools.lru_cache(maxsize=32)
def _composed(overrides: tuple[str, ...], plugins: tuple[str, ...]) -> RunConfig:
    return compose_one(overrides, plugins)
