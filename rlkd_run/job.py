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
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from rlkd_run.config.identity import run_folder, teacher_folder
from rlkd_run.config.runconfig import RunConfig
from rlkd_run.errors import ConfigError, FolderBusy, Interrupted, RunError
from rlkd_run.files import write_atomically
from rlkd_run.gpu_slots import gpu_slot
from rlkd_run.interrupt import STOPS
from rlkd_run.locks import is_locked, try_lock
from rlkd_run.queue_files import frozen_file, lock_file, log_file
from rlkd_run.record import RunFolder, finished, read_json

_SAVES = 60.0  # seconds that jobs get to reach the end of a step and save
_UNDER_SLURM = "submitit"
_ENDS_BY_SIGNAL = 600.0  # seconds within which a scheduler that has announced a job's end brings it about


def folder_of(config: RunConfig) -> Path:
    """The run folder of a job.

    Raises:
        ConfigError: the task leaves no run folder, so that there is nothing to sweep.
    """
    if config.task.name == "distill":
        return run_folder(config)
    if config.task.name == "train_teacher":
        return teacher_folder(config)
    raise ConfigError(f"task={config.task.name} takes one run at a time, not a sweep.")


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
            ConfigError: the folder cannot be written.
        """
        path = frozen_file(folder_of(self.config)).resolve()
        content = {"directory": str(self.directory), "config": self.config.to_dict()}
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, json.dumps(content).encode())
        except OSError as error:
            raise ConfigError(f"The folder {path.parent} cannot be written: {error.strerror}.") from error
        return path

    @classmethod
    def read(cls, path: Path) -> Frozen:
        """The inverse of `write`.

        Raises:
            ConfigError: the file is missing or damaged.
        """
        values = read_json(path)
        return cls(RunConfig.from_dict(values["config"]), Path(values["directory"]))


def run_job(composed: DictConfig) -> int:
    """Carry out one job, unless it is finished or another process is at it.

    Args:
        composed: the keys of ``conf/_job.yaml``.

    Returns:
        The child's exit code; 0 where there was nothing to do.

    Raises:
        Interrupted: the child was asked to stop, and so is the sweep on this machine.
    """
    path = Path(composed.frozen)
    if not path.exists():  # another sweep over the same runs has finished it, and taken the file away
        return 0
    frozen = Frozen.read(path)
    os.chdir(frozen.directory)
    folder, serial = folder_of(frozen.config), composed.launcher == "basic"
    with open(lock_file(folder), "a") as lock:
        if not _locked(lock, folder, wait=composed.wait) or finished(folder):
            return 0
        print(f"\n--- {folder}", flush=True)
        command = [sys.executable, "-m", "rlkd_run.worker", str(path), *(["--wait"] if composed.wait else [])]
        with gpu_slot(frozen.config.runtime.jobs_per_gpu, HydraConfig.get().job.num) as environment:
            code = supervise(command, lock, log=None if serial else log_file(folder), environment=environment)
        if not finished(folder):
            note_end(folder, code)
    return _stop_or_go_on(code, composed.launcher)


def _locked(lock: IO[str], folder: Path, *, wait: bool) -> bool:
    """Take the job's lock; False if another sweep has it and `wait` is not asked for."""
    if not try_lock(lock):
        print(f"\n--- {folder}: another sweep is at it", flush=True)
        while wait and not try_lock(lock):
            time.sleep(0.5)
        return bool(wait)
    return True


def _stop_or_go_on(code: int, launcher: str) -> int:
    number = code - 128
    if number not in STOPS:
        return code
    if launcher.startswith(_UNDER_SLURM):
        # The scheduler told the job as well. It will now ask for a requeue, or end this process: a return here would
        # say that the job is done.
        time.sleep(_ENDS_BY_SIGNAL)
    if launcher in ("basic", "joblib"):
        raise Interrupted(number)
    return code


def supervise(
    command: list[str],
    note: IO[str],
    *,
    log: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> int:
    """Run a child process to its end, whatever signals come: a signal for this process is passed on.

    Args:
        command: of the child.
        note: takes the machine, the process that started this one, and the child.
        log: takes what it prints; None: it prints where this process does.
        environment: what is added to this process's environment.

    Returns:
        Its exit code; minus the signal that killed it.
    """
    with ExitStack() as stack:
        output = None if log is None else stack.enter_context(open(log, "a"))
        child = subprocess.Popen(
            command,
            stdout=output,
            stderr=None if output is None else subprocess.STDOUT,
            env={**os.environ, **(environment or {})},
        )
        stack.enter_context(_passed_on_to(child))
        note.truncate(0)
        note.write(f"{socket.gethostname()} {os.getppid()} {child.pid}")
        note.flush()
        try:
            return child.wait()
        except BaseException:  # a launcher's own signal handler ends this process: the child has to save first
            child.terminate()
            child.wait()
            raise


@contextmanager
def _passed_on_to(child: subprocess.Popen[bytes]) -> Iterator[None]:
    def pass_on(number: int, frame: object) -> None:  # noqa: ARG001
        # A terminal's Ctrl-C reaches the child by itself; a second one there would cut its saving short.
        if number == signal.SIGTERM:
            child.send_signal(number)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = (signal.SIGTERM, signal.SIGINT)
    previous = [signal.signal(number, pass_on) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, previous, strict=True):
            signal.signal(number, handler)


def stop_jobs_here(folders: Iterable[Path], number: int) -> None:
    """Ask the jobs in this process's workers to stop, and wait until they have saved and are off their runs.

    For a launcher that, when it is stopped itself, kills its workers and all that they have started.
    """
    asked = []
    for folder in folders:
        if is_locked(lock_file(folder)):
            words = lock_file(folder).read_text().split()
            if words[:2] == [socket.gethostname(), str(os.getpid())]:  # not another sweep's
                asked.append(folder)
                with suppress(ProcessLookupError):  # it has just ended
                    os.kill(int(words[2]), number)
    deadline = time.monotonic() + _SAVES
    while any(is_locked(lock_file(folder)) for folder in asked) and time.monotonic() < deadline:
        time.sleep(0.1)


def note_end(folder: Path, code: int) -> None:
    """Leave in a run folder how its job ended, where the job could not do so itself."""
    state = None
    with suppress(ConfigError):
        state = read_json(folder / "status.json").get("state")
    if code >= 0 and state in ("failed", "interrupted"):
        return
    stopped = code - 128 in STOPS  # before it had begun
    message = f"its process ended with exit code {code}"
    if code < 0:
        message = f"killed by {signal.Signals(-code).name}"
        if code == -signal.SIGKILL:
            message += "; where nobody did that, the machine was out of memory"
    try:
        with RunFolder(folder) as run:
            run.status("interrupted" if stopped else "failed", message=message, traceback=None)
    except FolderBusy:  # another process is at it
        return
    except (ConfigError, RunError) as error:  # the disk is full, most likely
        print(error, file=sys.stderr)
