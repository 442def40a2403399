"""Many runs from one command: each in a process of its own, so that none takes the others along.

Every configuration is composed and checked, and frozen to a file, before the first job starts: editing a yaml
changes no queued job. Hydra's launcher (serial by default) only schedules.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import hydra
from omegaconf import DictConfig

from rlkd_run.config.composition import Command, config_folder
from rlkd_run.config.identity import run_folder, run_hash, teacher_folder
from rlkd_run.config.runconfig import RunConfig
from rlkd_run.errors import ConfigError, Interrupted
from rlkd_run.files import write_atomically
from rlkd_run.record import RunFolder, finished, read_json
from rlkd_run.results.report import table_for


def run_sweep(command: Command) -> int:
    """Run every job that has no result yet, then print the table and what became of each.

    Returns:
        0, or 1 if a job failed.

    Raises:
        Interrupted: a signal asked for it; the job under way has saved its state.
    """
    runs = {folder_of(run): run for run in command.runs}
    waiting = {folder: run for folder, run in runs.items() if not finished(folder)}
    print(f"sweep     {len(runs)} runs, {len(runs) - len(waiting)} finished before", flush=True)
    if waiting:
        _launch([_freeze(run) for run in waiting.values()], command.hydra_overrides)
    done = [folder for folder in runs if finished(folder)]
    if done:
        print(f"\n{table_for(done)}")
    failed = [folder for folder in runs if not finished(folder)]
    print(f"\nsweep     {len(done)} done, {len(failed)} not")
    for folder in failed:
        print(f"  {folder}: {_state(folder)}")
    return 1 if failed else 0


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


def _freeze(config: RunConfig) -> Path:
    """Write a job's configuration where its process will read it."""
    name = f"{config.task.name}-{run_hash(config)}.json"
    path = (Path(config.top.output_root) / config.top.series / ".queue" / name).resolve()
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, json.dumps(config.to_dict()).encode())
    return path


def _launch(frozen: list[Path], hydra_overrides: list[str]) -> None:
    """Hand the jobs to Hydra's launcher, as a sweep over the files that hold their configurations."""
    files = ",".join(f"'{path}'" for path in frozen)
    previous, sys.argv = sys.argv, ["rlkd-run", "--multirun", f"+frozen={files}", *hydra_overrides]
    try:
        hydra.main(config_path=str(config_folder()), config_name="config", version_base="1.3")(job)()
    finally:
        sys.argv = previous


def job(composed: DictConfig) -> int:
    """One job of a sweep: a child process does the work, this one sees to it that its end is on record.

    Returns:
        The child's exit code.

    Raises:
        Interrupted: the child was asked to stop, and so is the sweep.
    """
    path = Path(composed.frozen)
    config = RunConfig.from_dict(read_json(path))
    print(f"\n--- {folder_of(config)}", flush=True)
    code = supervise([sys.executable, "-m", "rlkd_run.worker", str(path)])
    if code in (128 + signal.SIGINT, 128 + signal.SIGTERM):
        raise Interrupted(code - 128)
    if code < 0 and not finished(folder_of(config)):
        with RunFolder(folder_of(config)) as folder:
            folder.status("failed", message=f"killed by {signal.Signals(-code).name}")
    return code


def supervise(command: list[str]) -> int:
    """Run a child process to its end, whatever signals come: a signal for this process is passed on.

    Returns:
        Its exit code; minus the signal that killed it.
    """
    child = subprocess.Popen(command)

    def pass_on(number: int, frame: object) -> None:  # noqa: ARG001
        # A terminal's Ctrl-C reaches the child by itself; a second one there would cut its saving short.
        if number == signal.SIGTERM:
            child.send_signal(number)

    numbers = (signal.SIGTERM, signal.SIGINT)
    previous = [signal.signal(number, pass_on) for number in numbers]
    try:
        return child.wait()
    finally:
        for number, handler in zip(numbers, previous, strict=True):
            signal.signal(number, handler)


def _state(folder: Path) -> str:
    try:
        status = read_json(folder / "status.json")
    except ConfigError:
        return "not started; its own lines above say why"
    return f"{status.get('state')}: {status.get('message') or 'no message'}"
