"""Where the runs of a sweep stand, also while it runs: read from their folders and its queue, without torch."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from rlkd_run.locks import is_locked
from rlkd_run.queue_files import QUEUE, lock_file, queued, worked_on
from rlkd_run.record import LOCK
from rlkd_run.results.fields import Fields, RecordError
from rlkd_run.results.folders import RESULT, STATUS, find_runs
from rlkd_run.results.notices import Tell, tell_on_stderr

STATES = ("finished", "running", "failed", "interrupted", "stopped", "waiting", "unreadable")
"""stopped: it says that it runs, and no process does; waiting: it is queued and has not begun."""


@dataclass(frozen=True)
class Standing:
    """Where one run stands.

    Attributes:
        folder: of the run; it need not exist yet.
        state: one of `STATES`.
        detail: how far it came, or why it ended, in a few words; may be empty.
        updated: when that was written; None if nothing was.
    """

    folder: Path
    state: str
    detail: str = ""
    updated: datetime | None = None

    @property
    def words(self) -> str:
        """State and detail."""
        return f"{self.state}: {self.detail}" if self.detail else self.state


def standing(folder: Path) -> Standing:
    """Look at one run folder; a record that cannot be read is a state, not an error."""
    busy = worked_on(folder)
    if not os.path.lexists(folder / STATUS):
        if os.path.lexists(folder / RESULT):  # records that were kept without it
            return Standing(folder, "finished")
        return Standing(folder, "running", "getting ready") if busy else Standing(folder, "waiting")
    try:
        fields = Fields.load(folder / STATUS)
        state = fields.text("state")
    except RecordError as error:
        return Standing(folder, "unreadable", str(error))
    updated = _time(fields.values.get("updated"))
    if os.path.lexists(folder / RESULT):
        state = "finished"
    elif busy and not _told_its_end(folder, state, updated):
        state = "running"
    elif state in ("running", "finished"):  # of the latter, somebody has removed the result
        state = "stopped"
    elif state not in STATES:
        return Standing(folder, "unreadable", f"its state is {state!r}", updated)
    return Standing(folder, state, _detail(fields, state), updated)


def _told_its_end(folder: Path, state: str, updated: datetime | None) -> bool:
    """Whether a run that is worked on has ended early, in a job that has other runs as well."""
    if state not in ("failed", "interrupted") or updated is None or is_locked(folder / LOCK):
        return False
    return updated.timestamp() >= lock_file(folder).stat().st_mtime  # written when the job began


def _detail(fields: Fields, state: str) -> str:
    epoch, epochs, message, phase = (fields.values.get(key) for key in ("epoch", "epochs", "message", "phase"))
    if state == "failed" and isinstance(message, str) and message.strip():
        return message.strip().splitlines()[0].rstrip(".")
    if state == "running" and isinstance(phase, str):
        return phase
    if state != "finished" and isinstance(epoch, int) and isinstance(epochs, int):
        return f"epoch {epoch} of {epochs}"
    return "getting ready" if state == "running" else ""


def _time(text: object) -> datetime | None:
    try:
        return datetime.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        return None


def standings(folders: Sequence[str | os.PathLike[str]], *, tell: Tell = tell_on_stderr) -> list[Standing]:
    """Look at every run in `folders` and below, and at every job that a sweep has queued there.

    Args:
        folders: run folders, or folders of them at any depth.
        tell: receives one sentence on every folder that cannot be listed.

    Raises:
        ConfigError: one of `folders` does not exist.
    """
    found = {path.resolve(): path for path in find_runs(folders, tell=tell)}
    for root in map(Path, folders):
        for queue in sorted(root.glob(f"**/{QUEUE}")):
            for folder in queued(queue.parent):
                found.setdefault(folder.resolve(), folder)
    return sorted(map(standing, found.values()), key=lambda one: (STATES.index(one.state), str(one.folder)))


def status_report(folders: Sequence[str | os.PathLike[str]], *, tell: Tell = tell_on_stderr) -> str:
    """Write down where every run in `folders` stands: how many are in each state, then those without a result.

    Raises:
        ConfigError: one of `folders` does not exist.
    """
    found = standings(folders, tell=tell)
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
