"""Where a sweep keeps what belongs to a job but not to its run: beside the run folders, in ``.queue``."""

from __future__ import annotations

import glob
from collections.abc import Iterator
from pathlib import Path

from rlkd_run.locks import is_locked
from rlkd_run.record import LOCK

QUEUE = ".queue"


def frozen_file(folder: Path, content_hash: str) -> Path:
    """The configuration of the job that fills a run folder, as it was when the sweep started.

    The same run may be queued with other paths or devices by another sweep, so the name tells contents apart.
    """
    return folder.parent / QUEUE / f"{folder.name}.{content_hash}.json"


def forget(folder: Path) -> None:
    """Take a run out of the queue, whoever put it there."""
    for path in (folder.parent / QUEUE).glob(f"{glob.escape(folder.name)}.*.json"):
        path.unlink(missing_ok=True)


def lock_file(folder: Path) -> Path:
    """Held by the supervisor of the job as long as it is at it, also before there is a run folder."""
    return folder.parent / QUEUE / f"{folder.name}.lock"


def log_file(folder: Path) -> Path:
    """What the job printed, where several run at the same time."""
    return folder.parent / QUEUE / f"{folder.name}.log"


def queued(series: Path) -> Iterator[Path]:
    """The run folders, existing or not, of the jobs that are frozen beside the runs of a series."""
    for name in sorted({path.stem.rpartition(".")[0] for path in (series / QUEUE).glob("*.*.json")}):
        yield series / name


def worked_on(folder: Path) -> bool:
    """Whether a process is at this run: a job of a sweep, or a command of its own."""
    return is_locked(folder / LOCK) or is_locked(lock_file(folder))
