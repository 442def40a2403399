"""Which runs of a sweep may be trained side by side in one process. Never imports torch."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from rlkd_run.config.identity import relevant
from rlkd_run.config.runconfig import RunConfig
from rlkd_run.flat import flatten, shown

OWN = ("seed", "method", "temperature", "agent")  # what members of a cohort may differ in


def cohorts(runs: Iterable[RunConfig]) -> list[list[RunConfig]]:
    """The runs in groups that differ in seed, method, temperature and agent only.

    A group has at most as many members as `runtime.cohort` says; order is kept. A run that needs an auxiliary teacher
    is a group by itself, and so is every run of another task.
    """
    groups: dict[str, list[RunConfig]] = {}
    for number, run in enumerate(runs):
        key = _key(run)
        if run.task.name != "distill" or run.auxiliary is not None:
            key = str(number)
        groups.setdefault(key, []).append(run)
    return [
        members[start : start + members[0].runtime.cohort]
        for members in groups.values()
        for start in range(0, len(members), members[0].runtime.cohort)
    ]


def labels(members: Sequence[RunConfig]) -> list[str]:
    """What tells the members of a cohort apart, in a few words each: method, temperature, what else differs, seed."""
    settings = list(map(_settings, members))
    words = []
    for run, own in zip(members, settings, strict=True):
        names = run.method.name, run.temperature.name
        alike = [
            other
            for one, other in zip(members, settings, strict=True)
            if (one.method.name, one.temperature.name) == names
        ]
        differ = [key for key, value in own.items() if any(value != other.get(key) for other in alike)]
        words.append(" ".join([*names, *(f"{key}={shown(own[key])}" for key in differ), f"seed {run.seed}"]))
    return words


def _settings(run: RunConfig) -> dict[str, object]:
    """By full key, all in which members may differ but the seed."""
    groups = ["method", "temperature", *(["agent"] if run.uses_agent else [])]
    return flatten({group: relevant(getattr(run, group)) for group in groups})


def _key(run: RunConfig) -> str:
    values: dict[str, Any] = {name: value for name, value in run.to_dict().items() if name not in OWN}
    values["choices"] = {group: choice for group, choice in values["choices"].items() if group not in OWN}
    return json.dumps(values, sort_keys=True)
