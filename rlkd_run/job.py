"""One job of a sweep: a child process does the work, this one sees to it that its end is on record.

This runs wherever Hydra's launcher puts it: in the process of the command, in a worker of joblib or Ray, on a node of a
cluster. The job's configuration comes from the file that was frozen when the sweep started.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, NamedTuple

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from rlkd_run.config.identity import folder_of, short_hash
from rlkd_run.config.registry import load_plugins
from rlkd_run.config.runconfig import RunConfig
from rlkd_run.errors import ConfigError, Interrupted
from rlkd_run.files import write_atomically, writing
from rlkd_run.gpu_slots import gpu_slot
from rlkd_run.interrupt import COMMANDS_STOPS, STOPS, answered_by
from rlkd_run.locks import is_locked, lock_when_free, try_lock
from rlkd_run.queue_files import TOGETHER, frozen_file, lock_file, one_log, together
from rlkd_run.record import STATUS, finished, leave_note, read_json

_SAVES = 60.0  # seconds that jobs get to reach the end of a step and save
_ENDS_BY_SIGNAL = 600.0  # seconds within which a scheduler that has announced a job's end brings it about


@dataclass(frozen=True)
class Frozen:
    """A job as its sweep froze it.

    Attributes:
        config: all of its configuration.
        directory: where the command was typed; relative paths start there.
    """

    config: RunConfig
    directory: Path

    def write(self) -> Path:
        """Write it beside the runs of its series.

        Returns:
            The file, absolute.

        Raises:
            ConfigError, RunError: the folder cannot be written, as `writing` tells them apart.
        """
        content = {"directory": str(self.directory), "config": self.config.to_dict()}
        path = frozen_file(folder_of(self.config), short_hash(content)).resolve()
        with writing(f"The folder {path.parent}"):
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, json.dumps(content).encode())
        return path

    @classmethod
    def read(cls, path: Path) -> Frozen:
        """The inverse of `write`.

        Raises:
            ConfigError: the file is missing or damaged.
        """
        values = read_json(path)
        load_plugins(values["config"]["plugins"])  # a launcher may have started a process that knows none
        return cls(RunConfig.from_dict(values["config"]), Path(values["directory"]))


def write_together(files: Sequence[Path]) -> Path:
    """A job of several runs side by side: the file that names their frozen configurations.

    Returns:
        It, absolute; the only one itself, where there is one.

    Raises:
        ConfigError, RunError: the folder cannot be written, as `writing` tells them apart.
    """
    if len(files) == 1:
        return files[0]
    names = [str(path) for path in files]
    path = files[0].with_name(f"{short_hash(names)}{TOGETHER}")
    with writing(f"The folder {path.parent}"):
        write_atomically(path, json.dumps(names).encode())
    return path


def _runs_of(path: Path) -> dict[Path, Frozen]:
    """The frozen runs of a job by their files; what another sweep has finished has none any more."""
    files = together(path) if path.exists() else []
    return {file: Frozen.read(file) for file in files if file.exists()}


def run_job(composed: DictConfig) -> int:
    """Carry out one job, unless it is finished or another process is at it.

    Args:
        composed: the keys of ``conf/_job.yaml``.

    Returns:
        The child's exit code; 0 where there was none.

    Raises:
        Interrupted: this process was asked to stop, and so is the sweep on this machine.
    """
    found = _runs_of(Path(composed.frozen))
    if not found:
        return 0
    first = next(iter(found.values()))
    os.chdir(first.directory)
    with ExitStack() as stack:
        mine: dict[Path, IO[str]] = {}  # locks by file
        for path, frozen in sorted(found.items()):  # in the order of everybody, so that none waits for one who waits
            folder = folder_of(frozen.config)
            try:
                lock = stack.enter_context(open(lock_file(folder), "a"))
            except OSError as error:  # another user's, most likely
                if not finished(folder):
                    _note(folder, "failed", f"{lock_file(folder)} cannot be opened: {error.strerror}")
                continue
            if _locked(lock, folder, wait=composed.wait) and not finished(folder):
                mine[path] = lock
        files = [path for path in found if path in mine]
        if not files:
            return 0
        folders = [folder_of(found[path].config) for path in files]
        print("\n" + "\n".join(f"--- {folder}" for folder in folders), flush=True)
        command = [sys.executable, "-m", "rlkd_run.worker", *map(str, files), f"--parent={os.getpid()}"]
        log = None if composed.launcher == "basic" else one_log(folders)
        with gpu_slot(first.config.runtime.jobs_per_gpu, HydraConfig.get().job.num) as environment:
            ended = supervise(
                [*command, *(["--wait"] if composed.wait else [])],
                [mine[path] for path in files],
                log=log,
                environment=environment,
            )
        for folder in folders:
            if not finished(folder):
                note_end(folder, ended)
    return _stop_or_go_on(ended, composed.launcher)


def _locked(lock: IO[str], folder: Path, *, wait: bool) -> bool:
    """Take the job's lock; False if another sweep has it and `wait` is not asked for."""
    if not try_lock(lock):
        print(f"\n--- {folder}: another sweep is at it", flush=True)
        if not wait:
            return False
        lock_when_free(lock)
    return True


class Ended(NamedTuple):
    """How a supervised process ended.

    Attributes:
        code: its exit code; minus the signal that killed it.
        asked: the signal by which this process was asked to stop meanwhile; None if by none. A child that was stopped
            alone has ended like any other, and the sweep goes on.
        process: its number.
    """

    code: int
    asked: int | None = None
    process: int | None = None

    @property
    def was_stopped(self) -> bool:
        """Whether it ended because somebody asked for it, also before it could answer as it should."""
        return self.code - 128 in STOPS or (self.asked is not None and -self.code in STOPS)


def _stop_or_go_on(ended: Ended, launcher: str) -> int:
    if launcher == "submitit" and ended.was_stopped:
        # The scheduler told the job as well. It will now ask for a requeue, or end this process: a return here would
        # say that the job is done.
        time.sleep(_ENDS_BY_SIGNAL)
    elif ended.asked is not None and launcher in ("basic", "joblib"):
        raise Interrupted(ended.asked)
    return ended.code


def supervise(
    command: list[str],
    notes: Sequence[IO[str]],
    *,
    log: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> Ended:
    """Run a child process to its end, whatever signals come: a signal for this process is passed on.

    Args:
        command: of the child.
        notes: each takes the machine, the process that started this one, and this one.
        log: takes what it prints; None: it prints where this process does.
        environment: what is added to this process's environment.
    """
    with ExitStack() as stack:
        output = None if log is None else stack.enter_context(_opened(log))
        child = subprocess.Popen(
            command,
            stdout=output,
            stderr=None if output is None else subprocess.STDOUT,
            env={**os.environ, **(environment or {})},
        )
        came = stack.enter_context(_passed_on_to(child))
        for note in notes:
            with suppress(OSError):  # a full disk: it is for `stop_jobs_here`, and no reason to leave the child alone
                os.ftruncate(note.fileno(), 0)  # and no buffer, which closing the file would try to write once more
                os.write(note.fileno(), f"{socket.gethostname()} {os.getppid()} {os.getpid()}".encode())
        try:
            return Ended(child.wait(), came[0] if came else None, child.pid)
        except BaseException:  # a launcher's own signal handler ends this process: the child has to save first
            child.terminate()
            child.wait()
            raise


def _opened(log: Path) -> IO[str]:
    """Where a child's output goes: nowhere, if the file cannot be written, which is no reason not to do the work."""
    try:
        return open(log, "a")
    except OSError as error:
        print(f"{log} cannot be written ({error.strerror}): the output of this job is lost", flush=True)
        return open(os.devnull, "a")


@contextmanager
def _passed_on_to(child: subprocess.Popen[bytes]) -> Iterator[list[int]]:
    """While entered, signals go to the child; yields the list in which they are noted."""
    came: list[int] = []

    def pass_on(number: int, frame: object) -> None:  # noqa: ARG001
        came.append(number)
        # A terminal's Ctrl-C reaches the child by itself; a second one there would cut its saving short.
        if number != signal.SIGINT:
            child.send_signal(number)

    with answered_by(pass_on, COMMANDS_STOPS):
        yield came


def stop_jobs_here(folders: Iterable[Path]) -> None:
    """Ask the supervisors in this process's workers to stop their jobs, and wait until these have saved and are off.

    For a launcher that, when it is stopped itself, kills its workers and all that they have started.
    """
    asked: dict[Path, int] = {}
    for folder in folders:
        if is_locked(lock_file(folder)):
            words = lock_file(folder).read_text().split()
            if words[:2] == [socket.gethostname(), str(os.getpid())]:  # not another sweep's
                asked[folder] = int(words[2])
    for supervisor in set(asked.values()):  # who may have several runs
        with suppress(ProcessLookupError):  # it has just ended
            os.kill(supervisor, signal.SIGTERM)
    deadline = time.monotonic() + _SAVES
    while any(is_locked(lock_file(folder)) for folder in asked) and time.monotonic() < deadline:
        time.sleep(0.1)


def note_end(folder: Path, ended: Ended) -> None:
    """Leave in a run folder how its job ended, where the job could not do so itself."""
    code = ended.code
    status = {}
    with suppress(ConfigError):
        status = read_json(folder / STATUS)
    told_by_it = ended.process is not None and status.get("process") == ended.process
    if status.get("state") in ("failed", "interrupted") and (code >= 0 or told_by_it):
        return
    message = f"its process ended with exit code {code}"
    if ended.was_stopped:
        message = "stopped before it had begun"
    elif code < 0:
        message = f"killed by {signal.Signals(-code).name}"
        if code == -signal.SIGKILL:
            message += "; where nobody did that, the machine was out of memory"
    _note(folder, "interrupted" if ended.was_stopped else "failed", message)


def _note(folder: Path, state: str, message: str) -> None:
    leave_note(folder, lambda run: run.status(state, message=message, traceback=None))
