"""Where a sweep keeps what belongs to a job but not to its run: beside the run folders, in ``.queue``."""

from __future__ import annotations

import glob
import json
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from rlkd_run.locks import is_locked
from rlkd_run.record import LOCK

QUEUE = ".queue"
TOGETHER = ".together"  # how the name of a file ends that names several frozen configurations


def frozen_file(folder: Path, content_hash: str) -> Path:
    """The configuration of the job that fills a run folder, as it was when the sweep started.

    The same run may be queued with other paths or devices by another sweep, so the name tells contents apart.
    """
    return folder.parent / QUEUE / f"{folder.name}.{content_hash}.json"


def forget(folder: Path) -> None:
    """Take a run out of the queue, whoever put it there."""
    for path in (folder.parent / QUEUE).glob(f"{glob.escape(folder.name)}.*.json"):
        path.unlink(missing_ok=True)


def forget_together(path: Path) -> None:
    """Take a job of several runs out of the queue, if all of them are."""
    if path.suffix == TOGETHER and path.exists() and not any(map(Path.exists, together(path))):
        path.unlink(missing_ok=True)


def together(path: Path) -> list[Path]:
    """The frozen configurations of a job: those that the file names, or itself."""
    return [Path(name) for name in json.loads(path.read_text())] if path.suffix == TOGETHER else [path]


def lock_file(folder: Path) -> Path:
    """Held by the supervisor of the job as long as it is at it, also before there is a run folder."""
    return folder.parent / QUEUE / f"{folder.name}.lock"


def log_file(folder: Path) -> Path:
    """What the job printed, where several run at the same time."""
    return folder.parent / QUEUE / f"{folder.name}.log"


def one_log(folders: Sequence[Path]) -> Path:
    """The log of a job of several runs: the first one's, by whose side those of the others point to it."""
    first, *others = map(log_file, folders)
    for other in others:
        with suppress(OSError):  # some disks have no links; the first one's is there
            other.unlink(missing_ok=True)
            other.symlink_to(first.name)
    if first.is_symlink():  # of an earlier job, in which it was not the first
        with suppress(OSError):
            first.unlink()
    return first


def queued(series: Path) -> Iterator[Path]:
    """The run folders, existing or not, of the jobs that are frozen beside the runs of a series."""
    for name in sorted({path.stem.rpartition(".")[0] for path in (series / QUEUE).glob("*.*.json")}):
        yield series / name


def worked_on(folder: Path) -> bool:
    """Whether a process is at this run: a job of a sweep, or a command of its own."""
    return is_locked(folder / LOCK) or is_locked(lock_file(folder))
