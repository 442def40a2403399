"""Options that were typed and play no part: of an agent that does not act, of a teacher that is given, and the like.

Nothing is wrong with such a command, but whoever typed ``task=train_teacher seed=1`` has to hear that a teacher has a
seed of its own.
"""

from __future__ import annotations

import copy
import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

from hydra.core.override_parser.types import Override

from rlkd_run.config.identity import run_hash, short_hash, teacher_identity
from rlkd_run.config.overrides import CHOICE_GROUPS
from rlkd_run.config.runconfig import RunConfig

_ANYTHING_ELSE = "?"  # as a value of an option, of whatever type


def idle_note(
    runs: Sequence[RunConfig], typed: Sequence[Override], alternatives: Callable[[Override], Sequence[RunConfig | None]]
) -> str | None:
    """Say which options decide nothing in any of a command's runs, whatever their values are.

    Args:
        runs: of the command, at least one.
        typed: its overrides.
        alternatives: the first run of the same command with each value of an override, and without it; None where it
            is not complete then.

    Returns:
        One sentence without its full stop; None if every option plays a part.
    """
    if any(run.task.name not in _IDENTITIES for run in runs):
        return None
    idle = [
        override
        for override in typed
        if all(_plays_no_part(override.key_or_group, run) for run in runs)
        and _leaves_alone(override, alternatives(override))
    ]
    if not idle:
        return None
    told = f"nothing here depends on {', '.join(str(override.input_line) for override in idle)}"
    own = [key for key in (f"teacher.{override.key_or_group}" for override in idle) if _declared(key, runs[0])]
    return f"{told}; a teacher's own: {', '.join(own)}" if runs[0].task.name == "train_teacher" and own else told


_IDENTITIES: dict[str, Callable[[RunConfig], str]] = {
    "distill": run_hash,
    "train_teacher": lambda config: short_hash(teacher_identity(config)),
}


def _identity(config: RunConfig) -> str:
    return _IDENTITIES[config.task.name](config)


def _plays_no_part(key: str, config: RunConfig) -> bool:
    """Whether an option that can change results in general, or the agent, changes none of this run's."""
    if key in CHOICE_GROUPS:  # of which but one choose what every command has, such as a student
        return key == "agent" and not config.uses_agent
    field = _declared(key, config)
    # A name chooses the class of its group's options: no other will do.
    if field is None or field.name == "name" or not field.metadata.get("identity", True):
        return False
    return _identity(_replaced(config, _path(key))) == _identity(config)


def _leaves_alone(override: Override, alternatives: Sequence[RunConfig | None]) -> bool:
    """Whether an option that plays no part itself asks for another value, and moves none that does.

    What follows an option may play one in its place, as a teacher's epochs follow the run's.
    """
    runs = [run for run in alternatives if run is not None]
    if len(runs) < len(alternatives):
        return False
    values = [functools.reduce(getattr, _path(override.key_or_group), run) for run in runs]
    return any(value != values[0] for value in values) and len({_identity(run) for run in runs}) == 1


def _path(key: str) -> list[str]:
    names = key.split(".")
    return names if len(names) > 1 or key in CHOICE_GROUPS else ["top", *names]


def _declared(key: str, config: RunConfig) -> dataclasses.Field[Any] | None:
    """How an option is declared; None if it is none."""
    *groups, name = _path(key)
    owner: Any = config
    for group in groups:
        owner = getattr(owner, group, None)
    fields = dataclasses.fields(owner) if dataclasses.is_dataclass(owner) else ()
    return next((field for field in fields if field.name == name), None)


def _replaced(owner: Any, path: Sequence[str]) -> Any:
    """A copy in which an option has another value, which nothing checks."""
    name, *rest = path
    changed = copy.copy(owner)
    object.__setattr__(changed, name, _replaced(getattr(owner, name), rest) if rest else _ANYTHING_ELSE)
    return changed
