"""How an option is declared: one line of help, its valid values, and whether it can change a result.

Values live in the yaml files of `conf/` only; a dataclass here gives names, types and bounds. Nothing in this package
imports torch, so that help, completion and every complaint answer at once.
"""

from __future__ import annotations

from dataclasses import field
from typing import Any

from omegaconf import MISSING


def option(
    help: str,
    *,
    choices: tuple[str, ...] | None = None,
    ge: float | None = None,
    gt: float | None = None,
    le: float | None = None,
    lt: float | None = None,
    identity: bool = True,
    neutral: Any = MISSING,
    when: tuple[str, tuple[str, ...]] | None = None,
    path: bool = False,
) -> Any:
    """Declare an option of a dataclass.

    Args:
        help: what it does, in one line, with its unit.
        choices: the only valid strings (of the value, or of each element of a list).
        ge, gt, le, lt: bounds of the value, or of each element of a list.
        identity: whether a different value makes a different run (and another run folder). False for what cannot
            change the result: paths, devices, progress.
        neutral: the value that stands for nothing, i.e. what a run without this option does. It does not count for
            the identity, so that an option that comes later moves no folder of an earlier run; and it is what a
            missing value means, so that an earlier run's configuration can still be read.
        when: name of a sibling option, and its values with which alone this one has an effect, and counts.
        path: whether the text names a file or folder, so that a leading ~ is the user's home.
    """
    metadata = {
        "help": help, "choices": choices, "ge": ge, "gt": gt, "le": le, "lt": lt,
        "identity": identity, "neutral": neutral, "when": when, "path": path,
    }  # fmt: skip
    return field(default=MISSING, metadata=metadata)
