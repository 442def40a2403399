"""What a run leaves in its folder, and the lock that keeps two processes from writing there at once.

status.json          where the run stands; written at every epoch, so that it tells also of a run that was killed
config.yaml          the resolved configuration
metrics.csv          a row an epoch
temperatures.csv     a row an epoch in which instances had temperatures of their own: their spread, by label, by entropy
student.safetensors  the student's weights after the last epoch; of a teacher's training see `teacher_weights`
result.json          written once, at the end
"""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import socket
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timezone
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import yaml

from rlkd_run.errors import ConfigError, FolderBusy, Interrupted, RunError
from rlkd_run.files import beside, leftovers, write_atomically, writing
from rlkd_run.locks import lock_when_free, try_lock

SCHEMA = 1
LOCK = ".lock"
RESULT = "result.json"
STATUS = "status.json"
METRICS = "metrics.csv"
TEMPERATURES = "temperatures.csv"
STUDENT = "student.safetensors"


def finished(folder: Path) -> bool:
    """Whether a run has its result; False of a folder that must not be looked into, which is said on entering it."""
    return os.path.isfile(folder / RESULT)  # `Path.is_file` would raise there


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object.

    Raises:
        ConfigError: the file is missing, or is not a JSON object.
    """
    try:
        values = json.loads(path.read_text())
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}.") from error
    except (ValueError, RecursionError) as error:  # the latter: brackets a thousand deep
        raise ConfigError(f"{path} is not valid JSON: {error}.") from error
    if not isinstance(values, dict):
        raise ConfigError(f"{path} does not hold a JSON object.")
    return values


class RunFolder:
    """A run folder that this process alone writes to, from ``with`` to its end.

    Args:
        path: the folder; made if need be.
        wait: wait for another process to leave it (a teacher that several runs need) instead of refusing.

    Raises:
        ConfigError: on entry: the folder cannot be written; as FolderBusy: another process is at work in it.
        RunError: on entry, and from every method that writes: the disk is full or the like; the old file is whole.
    """

    def __init__(self, path: Path, *, wait: bool = False) -> None:
        self.path = path
        self._wait = wait
        self._lock: IO[str] | None = None
        self._made: Path | None = None  # the outermost folder that did not exist before
        self._status: dict[str, Any] = {}

    def __enter__(self) -> RunFolder:
        lock = self._acquire()
        while not self._is_in_place(lock):  # whoever was waited for has removed the folder, and the lock with it
            lock.close()
            lock = self._acquire()
        try:  # past the file's own buffer, which closing would try to write again
            os.ftruncate(lock.fileno(), 0)
            os.write(lock.fileno(), f"process {os.getpid()} on {socket.gethostname()}".encode())
        except OSError as error:
            lock.close()
            raise RunError(f"{self.path / LOCK} could not be written: {error.strerror}.") from error
        self._lock = lock
        for leftover in leftovers(self.path):
            with suppress(OSError):
                leftover.unlink()
        with suppress(ConfigError):  # none yet, or half of one: it is written anew
            self._status = read_json(self.path / STATUS)
        return self

    def _open(self, tries: int = 5) -> IO[str]:
        with writing(f"The run folder {self.path}"):
            missing = [folder for folder in (self.path, *self.path.parents) if not folder.exists()]
            self._made = missing[-1] if missing else None
            try:
                self.path.mkdir(parents=True, exist_ok=True)
                return open(self.path / LOCK, "a+")
            except FileNotFoundError:  # another process has just removed it
                if tries == 1:
                    raise
        return self._open(tries - 1)

    def _acquire(self) -> IO[str]:
        lock = self._open()
        if not try_lock(lock):
            lock.seek(0)
            holder = lock.read().strip() or "another process"
            if not self._wait:
                lock.close()
                raise FolderBusy(f"{self.path} is being worked on by {holder}: wait for it, or stop it first.")
            print(f"waiting for {holder} to finish {self.path}", flush=True)
            lock_when_free(lock)
        return lock

    def _is_in_place(self, lock: IO[str]) -> bool:
        try:
            return os.path.samestat(os.fstat(lock.fileno()), os.stat(self.path / LOCK))
        except FileNotFoundError:
            return False

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if isinstance(error, ConfigError) and self._is_bare():
                self._remove()
            elif error is not None:
                self._status_of(error)
        finally:
            if self._lock is not None:
                self._lock.close()

    def _status_of(self, error: BaseException) -> None:
        try:
            if isinstance(error, (Interrupted, KeyboardInterrupt, GeneratorExit)):
                self.status("interrupted", message=str(error))
            else:
                self.failed(error)
        except RunError as also:  # a full disk, most likely: what happened first is what counts
            if os.path.exists(self.path):  # else somebody has moved the folder, which is what happened first
                print(also, file=sys.stderr)

    def _is_bare(self) -> bool:
        """Whether nothing worth keeping was written: the mistake came to light before the first checkpoint."""
        return self._made is not None and not finished(self.path) and not self.has_checkpoints()

    def _remove(self) -> None:
        """Leave the disk as it was found.

        The folder goes in one step, while it is locked: who waits for the lock finds it out of place then, and makes a
        folder anew, of which nothing must be removed. Only then is the lock closed, and the files go after that, as a
        network disk keeps a file that is removed while it is open.
        """
        assert self._made is not None
        assert self._lock is not None
        aside = beside(self.path)
        self.path.rename(aside)
        self._lock.close()
        shutil.rmtree(aside)
        with suppress(OSError):  # not empty: other runs lie there
            for parent in self.path.parents:
                if not parent.is_relative_to(self._made):
                    break
                parent.rmdir()

    def status(self, state: str, **facts: Any) -> None:
        """Update ``status.json``.

        Args:
            state: running, finished, failed or interrupted.
            facts: further keys, e.g. epoch, message; earlier ones are kept.
        """
        now = datetime.now(timezone.utc).isoformat(timespec="seconds")
        self._status = {
            "started": now,
            **self._status,
            "state": state,
            "updated": now,
            "process": os.getpid(),
            **facts,
        }
        self._write(STATUS, json.dumps(self._status, indent=1))

    def failed(self, error: BaseException) -> None:
        """Say that the run has ended early, and why: message and traceback."""
        text = "".join(traceback.format_exception(error))
        self.status("failed", message=str(error) or type(error).__name__, traceback=text)

    def noted(self, fact: str) -> Any:
        """What the status says, of an earlier sitting as well; None: nothing."""
        return self._status.get(fact)

    def has_checkpoints(self) -> bool:
        """Whether there may be something to go on from."""
        return (self.path / "checkpoints").exists()

    def begin(self, config: Mapping[str, Any], **facts: Any) -> None:
        """Say that the run is under way, and write its resolved configuration to ``config.yaml``.

        Args:
            config: the resolved configuration.
            facts: for the status, as in `status`.
        """
        self._write("config.yaml", yaml.safe_dump(dict(config), sort_keys=False))
        for outcome in ("message", "traceback"):  # of an earlier sitting
            self._status.pop(outcome, None)
        self.status("running", phase=None, **facts)

    def phase(self, words: str) -> None:
        """Say in the status what the run is at while it trains no epoch of its own."""
        self.status("running", phase=words)

    def write_csv(self, name: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write a table whole: a row an epoch, columns in the order in which they first appear; nothing of no rows."""
        if not rows:
            return
        columns = list(dict.fromkeys(key for row in rows for key in row))
        text = io.StringIO()
        writer = csv.DictWriter(text, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        self._write(name, text.getvalue())

    def write_result(self, values: Mapping[str, Any]) -> None:
        """``result.json``: the run is finished.

        Raises:
            ValueError: a number is not finite, which a result never is.
        """
        self._write(RESULT, json.dumps({"schema": SCHEMA, **values}, indent=1, allow_nan=False))
        self.status("finished")

    def _write(self, name: str, text: str) -> None:
        try:
            write_atomically(self.path / name, text.encode())
        except OSError as error:
            raise RunError(f"{self.path / name} could not be written: {error.strerror}.") from error


def leave_note(folder: Path, write: Callable[[RunFolder], None]) -> None:
    """Leave in a run folder how its job ended, where the run could not do so itself.

    Where another process is at the run, nothing is written: it keeps the record. A disk that refuses is told of and no
    more: what ended the job is what counts.

    Args:
        folder: of the run.
        write: called with the folder, entered.
    """
    try:
        with RunFolder(folder) as run:
            write(run)
    except FolderBusy:
        return
    except (ConfigError, RunError) as problem:  # the disk is full, most likely
        print(problem, file=sys.stderr)
