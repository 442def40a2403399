"""Where a run stands, also while it runs: read from its folder, without torch."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from rlkd_run.locks import is_locked
from rlkd_run.queue_files import lock_file, worked_on
from rlkd_run.record import LOCK, RESULT, STATUS
from rlkd_run.results.fields import Fields, RecordError

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
