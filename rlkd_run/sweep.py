"""Many runs from one command: each in a process of its own, so that none takes the others along.

Every configuration is composed and checked, and frozen to a file, before the first job starts. Hydra's launcher (one
job after the other by default) only schedules. What became of the jobs is read from their folders, wherever they ran.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from types import FrameType

import hydra

from rlkd_run.config.composition import Command
from rlkd_run.config.identity import folder_of, teacher_folder
from rlkd_run.config.quoting import quoted_as_it_is
from rlkd_run.config.runconfig import RunConfig
from rlkd_run.config.shipped import config_folder
from rlkd_run.data.published import fetch_missing
from rlkd_run.errors import ConfigError, Interrupted, in_a_line
from rlkd_run.files import writing
from rlkd_run.grouping import cohorts
from rlkd_run.interrupt import COMMANDS_STOPS, answered_by, ignore_more_of, stop_at_once
from rlkd_run.job import Frozen, run_job, stop_jobs_here, write_together
from rlkd_run.launchers import candid_launcher
from rlkd_run.missing_files import missing_files
from rlkd_run.own_code import tell_if_code_changed
from rlkd_run.queue_files import forget, forget_together, log_file
from rlkd_run.record import finished
from rlkd_run.results.records import unusable
from rlkd_run.results.report import table_for
from rlkd_run.results.status import standing
from rlkd_run.same_images import changed_since
from rlkd_run.teacher_weights import find_weights
from rlkd_run.tuning import objective_of, ranking, ranking_table, try_settings
from rlkd_run.words import counted, listed


def run_sweep(command: Command) -> int:
    """Run every job that has no result yet, then print the table and what became of each.

    Returns:
        0, or 1 if a job failed.

    Raises:
        ConfigError: nothing can be swept, a file that a job reads is not there or cannot be fetched, a result is
            damaged, or the folder of the runs cannot be written.
        Interrupted: a signal asked for it; the jobs under way have saved their state.
    """
    runs = {folder_of(run): run for run in command.runs}
    objective = objective_of(command.runs)
    waiting = [run for run in command.runs if not finished(folder_of(run))]
    problems = [problem for folder in runs if finished(folder) and (problem := unusable(folder)) is not None]
    elsewhere = command.launcher_kind in ("submitit", "ray")
    problems += missing_files(waiting, elsewhere=elsewhere)
    if problems:
        raise ConfigError(problems)
    if not elsewhere:
        fetch_missing(run.dataset for run in waiting)
    if command.search is not None and objective is not None:
        before: set[Path] = set()
        carry_out = partial(_carry_out, command=command, before=before, begun=set())
        runs = try_settings(command.search, objective, carry_out)
        _tell_if_code_changed(runs, before)
    else:
        before = {folder for folder in runs if finished(folder)}
        print(f"sweep     {len(runs)} runs, {len(before)} finished before", flush=True)
        changed = changed_since({folder: runs[folder].dataset for folder in runs if folder in before})
        if changed:
            teaching = all(run.task.name == "train_teacher" for run in runs.values())  # which is done in no series
            print(
                f"warning   the images of {len(changed)} have changed since: remove these folders to have them trained "
                f"anew{'' if teaching else ', or give another series'}: {listed(map(str, changed))}",
                flush=True,
            )
        if len(runs) < len(command.runs):
            print(
                f"note      {len(command.runs)} settings, but only {len(runs)} different: some of what is swept "
                "changes no result, and its last value is taken",
                flush=True,
            )
        _tell_if_code_changed(runs, before)
        _carry_out(runs, command=command, before=before, begun=set())
    done = [folder for folder in runs if finished(folder)]
    if done:
        print(f"\n{table_for(done)}")
    if objective is not None:
        print(f"\n{ranking_table(ranking(runs, objective), objective)}")
    print(f"\n{_summary(runs, before)}", flush=True)
    return 0 if len(done) == len(runs) else 1


def _tell_if_code_changed(runs: Mapping[Path, RunConfig], before: set[Path]) -> None:
    """Of the distillations that were finished before; a teacher's weights are its own, whatever is registered since."""
    tell_if_code_changed(run for folder, run in runs.items() if folder in before and run.task.name == "distill")


def _carry_out(runs: Mapping[Path, RunConfig], *, command: Command, before: set[Path], begun: set[Path]) -> None:
    """Run what has no result yet; what is found finished is noted in `before`, unless this sweep had `begun` it."""
    before.update(folder for folder in runs if finished(folder) and folder not in begun)
    waiting = {folder: run for folder, run in runs.items() if not finished(folder)}
    begun.update(waiting)
    try:
        if command.launcher_kind != "basic":  # a place in a cluster is not for waiting
            for run in waiting.values():  # frozen before the first job starts, these too
                Frozen(run, Path.cwd()).write()
            cancelled = _launch(missing_teachers(waiting.values()), command, then=waiting)
            waiting = _without_those_taught_by(cancelled, waiting)
        given_up = _launch(waiting, command)
        # Another sweep that wants the same runs has been let do them, while this one did others; and joblib, where one
        # of its processes was killed, has left some.
        left = {folder: run for folder, run in waiting.items() if _left(folder) and folder not in given_up}
        _launch(left, command, wait=True)
    except Interrupted:
        print(f"\n{_summary(runs, before & runs.keys(), stopped=True)}", flush=True)
        raise


def _without_those_taught_by(cancelled: set[Path], waiting: dict[Path, RunConfig]) -> dict[Path, RunConfig]:
    """What is left to run where a scheduler has ended the jobs of some teachers for good; of the others it is said."""
    left = {folder: run for folder, run in waiting.items() if teacher_folder(run) not in cancelled}
    if len(left) < len(waiting):
        print(
            f"note      {counted(len(waiting) - len(left), 'run')} not begun, as the scheduler has ended, or still "
            f"keeps, the job of the teacher: {listed(map(str, cancelled))}",
            flush=True,
        )
    return left


def missing_teachers(runs: Iterable[RunConfig]) -> dict[Path, RunConfig]:
    """Jobs that train the teachers which distillations need and which nobody has trained, each once."""
    jobs: dict[Path, RunConfig] = {}
    for run in runs:
        if run.task.name == "distill" and not run.teacher.pretrained and find_weights(run) is None:
            task = dataclasses.replace(run.task, name="train_teacher")
            jobs.setdefault(teacher_folder(run), dataclasses.replace(run, task=task))
    return jobs


def _left(folder: Path) -> bool:
    """Whether a run still wants doing: somebody is at it, or was, and did not say that it failed."""
    return not finished(folder) and standing(folder).state not in ("failed", "unreadable")


def _launch(
    runs: Mapping[Path, RunConfig], command: Command, *, wait: bool = False, then: Iterable[Path] = ()
) -> set[Path]:
    """Hand the jobs to Hydra's launcher, as a sweep over the files that hold their configurations.

    Args:
        runs: the jobs by their folders.
        command: whose launcher.
        wait: whether a job waits for another sweep that is at it.
        then: folders of jobs that are frozen too and come afterwards, unless the launcher gives up.

    Returns:
        The folders of those that a scheduler has ended for good, or may still have in its queue; what became of the
        others is told by their folders.

    Raises:
        ConfigError: the launcher gave up before any of them had begun.
    """
    if not runs:
        return set()
    ended: list[int] = []
    before = {folder: standing(folder) for folder in runs}
    here = Path.cwd()
    groups = cohorts(runs.values())
    if len(runs) > 1 and any(run.runtime.cohort > 1 for run in runs.values()):
        print(f"cohorts   {len(runs)} runs in {len(groups)} processes", flush=True)
    files = [write_together([Frozen(run, here).write() for run in group]) for group in groups]
    queue = files[0].parent
    with writing(f"The folder {queue}"):  # Hydra writes it anew and would fail on that of another user in a shared one
        (queue / "multirun.yaml").unlink(missing_ok=True)
    overrides = [
        "frozen=" + ",".join(quoted_as_it_is(str(path)) for path in files),
        f"launcher={command.launcher_kind}",
        f"wait={str(wait).lower()}",
        f"hydra.sweep.dir={quoted_as_it_is(str(queue))}",
        f"hydra/launcher={command.launcher}",
        *(text for text in command.hydra_overrides if not text.startswith("hydra/launcher=")),
    ]
    previous, sys.argv = sys.argv, ["rlkd-run", "--multirun", *overrides]

    def stop(number: int, frame: FrameType | None) -> None:
        if command.launcher_kind == "joblib":
            ignore_more_of(number)
            stop_jobs_here(runs)
        stop_at_once(number, frame)

    try:
        with answered_by(stop, COMMANDS_STOPS), candid_launcher(command.launcher_kind) as ended:
            hydra.main(config_path=str(config_folder()), config_name="_job", version_base="1.3")(run_job)()
    except (Exception, SystemExit) as error:  # of whatever kind, from a scheduler that this project does not know
        told = f"The launcher {command.launcher} ended early: {in_a_line(error)}."
        has_queue = command.launcher_kind in ("submitit", "ray")
        if has_queue:
            told += " If it has jobs in its queue, they go on, and the same command takes up what comes of them."
            ended = list(range(len(groups)))
        if not wait and all(standing(folder) == before[folder] for folder in runs):
            if not has_queue:
                for folder in (*runs, *then):
                    forget(folder)
            raise ConfigError(told) from error
        print(f"rlkd-run: {told}", file=sys.stderr, flush=True)
    finally:
        for folder in runs:
            if finished(folder):
                forget(folder)
        for path in files:
            forget_together(path)
        sys.argv = previous
    return {folder_of(run) for number in ended for run in groups[number]}


def _summary(runs: Mapping[Path, RunConfig], before: set[Path], *, stopped: bool = False) -> str:
    """How many were done, failed and skipped, and of each that has no result, why."""
    done = sum(finished(folder) for folder in runs) - len(before)
    missing = [standing(folder) for folder in runs if not finished(folder)]
    failed = [one for one in missing if one.state == "failed"]
    others = [one for one in missing if one.state != "failed"]
    words = [f"{done} done", f"{len(failed)} failed", f"{len(before)} skipped (finished before)"]
    words += [f"{len(others)} not finished"] if others else []
    alike: dict[str, list[Path]] = {}  # by what is told of them
    for one in missing:
        told = "left no record; the lines above say why" if one.state == "waiting" and not stopped else one.words
        alike.setdefault(told, []).append(one.folder)
    lines = [f"sweep     {', '.join(words)}"]
    for told, (first, *others_too) in alike.items():
        if others_too:
            lines += [f"  {told}:", *(f"    {folder}{_output(folder)}" for folder in (first, *others_too))]
        else:
            lines.append(f"  {first}: {told}{_output(first)}")
    return "\n".join(lines)


def _output(folder: Path) -> str:
    log = log_file(folder)
    return f" (its output: {log})" if log.exists() else ""
