"""From a checked configuration to the task it names; torch is imported only when something has to be computed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from rlkd_run.config.identity import run_folder, teacher_folder
from rlkd_run.config.runconfig import RunConfig
from rlkd_run.errors import ConfigError
from rlkd_run.interrupt import uninterrupted
from rlkd_run.missing_files import missing_files
from rlkd_run.own_code import tell_if_code_changed
from rlkd_run.record import finished
from rlkd_run.results.records import unusable
from rlkd_run.results.report import table_for
from rlkd_run.same_images import changed_since, place_of
from rlkd_run.words import counted


def start(config: RunConfig, *, wait: bool = False, images: str | None = None) -> None:
    """Carry out a configuration in this process.

    Args:
        config: what to do.
        wait: for another process that is at the same run, instead of raising.
        images: for the tasks on a finished run, the folder that takes the place of the recorded one; None: none does.

    Raises:
        ConfigError, RunError, Interrupted: as the tasks do.
    """
    if config.task.name == "distill":
        _distill(config, wait=wait)
    elif config.task.name == "train_teacher":
        _train_teacher(config)
    else:
        with uninterrupted():
            from rlkd_run import inspection

        getattr(inspection, config.task.name)(config, images)


def start_together(configs: Sequence[RunConfig], *, wait: bool, note: Callable[[RunConfig, Exception], None]) -> int:
    """Carry out several distillations side by side in this process.

    Args:
        configs: the runs.
        wait: for another process that is at one of them.
        note: told of each that failed.

    Returns:
        How many failed.

    Raises:
        Interrupted: as the task does.
    """
    with uninterrupted():
        from rlkd_run.cohort import distill_together

    for config in configs:
        _announce(config)
    print(f"together  {len(configs)} runs share this process: img/s is each one's among the others", flush=True)
    failed = distill_together(configs, wait=wait, note=note)
    done = [folder for folder in map(run_folder, configs) if finished(folder)]
    if done:
        print(f"\n{table_for(done)}\n")
    for folder in done:
        print(_contents(folder), flush=True)
    return failed


def _announce(config: RunConfig) -> None:
    print(
        f"distil    {config.teacher.model} -> {config.student.model} on {config.dataset.name}, "
        f"{config.method.name} with {config.temperature.name} temperatures, {counted(config.recipe.epochs, 'epoch')}, "
        f"seed {config.seed}\n"
        f"folder    {run_folder(config)}",
        flush=True,
    )


def _has_result(config: RunConfig, folder: Path) -> bool:
    """Whether a run is finished; refused before anything is said of it where its result or its input is of no use."""
    done = finished(folder)
    problems = [unusable(folder)] if done else missing_files([config], elsewhere=False)
    found = [problem for problem in problems if problem is not None]
    if found:
        raise ConfigError(found)
    return done


def _distill(config: RunConfig, *, wait: bool) -> None:
    folder = run_folder(config)
    done = _has_result(config, folder)
    _announce(config)
    if done:
        print("finished  before; this is its result")
        _warn_if_images_changed(folder, config, f"remove {folder} to have it trained anew, or give another series")
        tell_if_code_changed([config])
    else:
        with uninterrupted():
            from rlkd_run.experiment import distill

        distill(config, wait=wait)
    show(folder)


def _train_teacher(config: RunConfig) -> None:
    folder = teacher_folder(config)
    done = _has_result(config, folder)
    print(
        f"train     {config.teacher.model} on {config.dataset.name}, {counted(config.teacher.recipe.epochs, 'epoch')}, "
        f"seed {config.teacher.seed}\nfolder    {folder}",
        flush=True,
    )
    if done:
        print("finished  before; this is its result")
        _warn_if_images_changed(folder, config, f"remove {folder} to have it trained anew")
    else:
        with uninterrupted():
            from rlkd_run.experiment import train_teacher

        train_teacher(config)
    show(folder)


def _warn_if_images_changed(folder: Path, config: RunConfig, remedy: str) -> None:
    for changed in changed_since({folder: config.dataset}).values():
        print(f"warning   the {changed} in {place_of(config.dataset)} have changed since it was trained: {remedy}")


def show(folder: Path) -> None:
    """Print a finished run's table and what lies in its folder."""
    print(f"\n{table_for([folder])}\n\n{_contents(folder)}", flush=True)


def _contents(folder: Path) -> str:
    files = sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
    return f"in {folder}: {', '.join(files)}"
