"""Where the runs of a sweep stand, also while it runs: those in its folders, and those that wait in its queue."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path

from rlkd_run.queue_files import QUEUE, queued
from rlkd_run.results.folders import find_runs
from rlkd_run.results.records import unusable
from rlkd_run.results.status import STATES, Standing, standing


def standings(folders: Sequence[str | os.PathLike[str]]) -> list[Standing]:
    """Look at every run in `folders` and below, and at every job that a sweep has queued there.

    Args:
        folders: run folders, or folders of them at any depth.

    Raises:
        ConfigError: one of `folders` does not exist.
    """
    found = {path.resolve(): path for path in find_runs(folders)}
    for root in map(Path, folders):
        for queue in sorted(root.glob(f"**/{QUEUE}")):
            for folder in queued(queue.parent):
                found.setdefault(folder.resolve(), folder)
    return sorted(map(_standing, found.values()), key=lambda one: (STATES.index(one.state), str(one.folder)))


def _standing(folder: Path) -> Standing:
    """As `standing`; a result that is of no use finishes nothing."""
    found = standing(folder)
    problem = unusable(folder) if found.state == "finished" else None
    return found if problem is None else replace(found, state="unreadable", detail=problem.rstrip("."))


def status_report(folders: Sequence[str | os.PathLike[str]]) -> str:
    """Write down where every run in `folders` stands: how many are in each state, then those without a result.

    Raises:
        ConfigError: one of `folders` does not exist.
    """
    found = standings(folders)
    if not found:
        return "no runs"
    counts = Counter(one.state for one in found)
    lines = [f"{len(found)} runs: " + ", ".join(f"{counts[state]} {state}" for state in STATES if counts[state])]
    now = datetime.now(timezone.utc)
    for one in found:
        if one.state != "finished":
            lines.append(f"  {one.state:<11}  {one.folder}" + _after(one, now))
    return "\n".join(lines)


def _after(one: Standing, now: datetime) -> str:
    words = [one.detail] if one.detail else []
    if one.updated is not None and one.updated.tzinfo is not None:
        minutes = max(0, round((now - one.updated).total_seconds() / 60))
        words.append(f"{minutes} min ago" if minutes < 120 else f"{minutes // 60} h ago")
    return f"  ({', '.join(words)})" if words else ""
