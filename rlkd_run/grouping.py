"""Which runs of a sweep may be trained side by side in one process. Never imports torch."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rlkd_run.config.runconfig import RunConfig

OWN = ("seed", "method", "temperature", "agent")  # what members of a cohort may differ in


def cohorts(runs: Iterable[RunConfig]) -> list[list[RunConfig]]:
    """The runs in groups that differ in seed, method, temperature and agent only.

    A group has at most as many members as `runtime.cohort` says; order is kept. A run that needs an auxiliary teacher
    is a group by itself, and so is every run of another task.
    """
    groups: dict[str, list[RunConfig]] = {}
    for number, run in enumerate(runs):
        key = _key(run)
        if run.task.name != "distill" or getattr(run.method, "auxiliary", None) is not None:
            key = str(number)
        groups.setdefault(key, []).append(run)
    return [
        members[start : start + members[0].runtime.cohort]
        for members in groups.values()
        for start in range(0, len(members), members[0].runtime.cohort)
    ]


def labels(members: Sequence[RunConfig]) -> list[str]:
    """What tells the members of a cohort apart, in a few words each: method, temperature, what else differs, seed."""
    flat = [_flat({group: run.to_dict()[group] for group in _groups(run)}) for run in members]
    words = []
    for run, values in zip(members, flat, strict=True):
        alike = [
            other
            for one, other in zip(members, flat, strict=True)
            if (one.method.name, one.temperature.name) == (run.method.name, run.temperature.name)
        ]
        own = [f"{name}={value}" for name, value in values.items() if any(value != one.get(name) for one in alike)]
        words.append(" ".join([run.method.name, run.temperature.name, *own, f"seed {run.seed}"]))
    return words


def _groups(run: RunConfig) -> list[str]:
    return ["method", "temperature", *(["agent"] if run.uses_agent else [])]


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Values by full key."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        key = f"{prefix}{name}"
        found |= _flat(value, f"{key}.") if isinstance(value, Mapping) else {key: value}
    return found


def _key(run: RunConfig) -> str:
    values: dict[str, Any] = {name: value for name, value in run.to_dict().items() if name not in OWN}
    values["choices"] = {group: choice for group, choice in values["choices"].items() if group not in OWN}
    return json.dumps(values, sort_keys=True)
