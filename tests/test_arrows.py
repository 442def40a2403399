"""Who may know whom (docs/design.md): the rooms import each other in one direction."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import rlkd_run

PACKAGE = Path(rlkd_run.__file__).parent
CHAIN = ("cli", "launch", "experiment", "fit", "training", "objectives")
ROOMS = ("config", "methods", "temperature", "agent", "data", "models", "results")
MAY_KNOW = {
    "config": {"models"},  # its names, without torch
    "methods": {"config", "models"},
    "temperature": {"config", "agent"},
    "agent": {"config"},
    "data": {"config"},
    "models": set[str](),
    "results": {"models"},  # the zoo's names, without torch
}


def imported(file: Path) -> set[str]:
    """Modules of this package, and rooms: the second part of their dotted names."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        if names == ["rlkd_run"] and isinstance(node, ast.ImportFrom):
            names = [f"rlkd_run.{alias.name}" for alias in node.names]
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        found |= {name.split(".")[1] for name in names if name.startswith("rlkd_run.")}
    return found


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_knows_only_those_below(room: str) -> None:
    files = list((PACKAGE / room).rglob("*.py"))
    assert files
    known = set().union(*map(imported, files)) - {room}
    assert known & set(ROOMS) <= MAY_KNOW[room]
    assert not known & set(CHAIN)


@pytest.mark.parametrize("position", range(len(CHAIN)))
def test_the_chain_from_command_to_step_runs_one_way(position: int) -> None:
    known = imported(PACKAGE / f"{CHAIN[position]}.py")
    assert not known & set(CHAIN[:position])
    if position + 1 < len(CHAIN):
        assert CHAIN[position + 1] in known
