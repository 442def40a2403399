"""Hydra's launchers, each with two tiny jobs; skipped where the extra is not installed."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from support import TINY, Ended, command

from rlkd_run import sweep
from rlkd_run.config.composition import Command, compose_command
from rlkd_run.launchers import candid_launcher

pytestmark = pytest.mark.usefixtures("a_teacher_at_hand")

JOBS = [*TINY, "teacher.checkpoint=teacher.safetensors", "temperature=fixed", "recipe.epochs=1", "seed=0,1"]


def needs(extra: str) -> None:
    if importlib.util.find_spec(f"hydra_plugins.hydra_{extra}_launcher") is None:
        pytest.skip(f"hydra-{extra}-launcher is not installed: pip install 'rlkd-run[{extra}]'")


def results() -> list[Path]:
    return sorted(Path("outputs/runs").glob("*/result.json"))


def assert_both_are_done(ended: Ended) -> None:
    assert ended.code == 0, ended.err
    assert "sweep     2 done, 0 failed, 0 skipped" in ended.out
    assert len(results()) == 2
    # Where jobs run side by side, what each prints is kept apart.
    logs = [path.read_text() for path in Path("outputs/runs/.queue").glob("*.log")]
    assert [log.count("epoch 1/1") for log in logs] == [1, 1]
    assert "epoch 1/1" not in ended.out


def test_several_processes_and_a_teacher_that_is_missing(rlkd_run_process: Callable[..., Ended]) -> None:
    """The teacher is a job of its own before the others, so that nobody waits for it in a place of a cluster."""
    needs("joblib")
    ended = rlkd_run_process(
        *JOBS, "teacher.checkpoint=null", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2", "runtime.jobs_per_gpu=1"
    )
    assert_both_are_done(ended)
    teacher, first, _ = [line for line in ended.out.splitlines() if line.startswith("--- outputs")]
    assert teacher.startswith("--- outputs/teachers/digits-resnet14")
    assert first.startswith("--- outputs/runs/")


def test_a_signal_stops_all_processes_and_each_saves() -> None:
    needs("joblib")
    long = ["recipe.epochs=200", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]
    process = subprocess.Popen(command(*JOBS, *long), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while len({path.parent for path in Path("outputs/runs").glob("*/checkpoints/*.pt")}) < 2:
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    process.terminate()
    out, err = process.communicate(timeout=60)
    assert process.returncode == 143, (out, err)
    assert "2 not finished" in out
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        states = [json.loads(path.read_text())["state"] for path in Path("outputs/runs").glob("*/status.json")]
        if states == ["interrupted", "interrupted"]:
            return
        time.sleep(0.1)
    pytest.fail(f"{states}")


def test_ray(rlkd_run_process: Callable[..., Ended]) -> None:
    needs("ray")
    quiet = {"RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0"}
    ended = rlkd_run_process(*JOBS, "hydra/launcher=ray", "+hydra.launcher.ray.init.include_dashboard=false", **quiet)
    assert_both_are_done(ended)


def test_a_pre_empted_job_of_submitit_is_requeued_and_resumes() -> None:
    """By submitit's local executor, which answers the signal as the one for Slurm does."""
    needs("submitit")
    long = [
        "recipe.epochs=6",
        "recipe.batch_size=16",
        "runtime.checkpoint_minutes=1e-6",
        "hydra/launcher=submitit_local",
    ]
    process = subprocess.Popen(command(*JOBS, *long), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while not (saved := list(Path("outputs/runs").glob("*/checkpoints/*.pt"))):
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    folder = saved[0].parent.parent
    worker = json.loads((folder / "status.json").read_text())["process"]
    supervisor = int(Path(f"/proc/{worker}/stat").read_text().rsplit(")", 1)[1].split()[1])
    os.kill(worker, signal.SIGUSR2)  # Slurm tells every process of a job
    os.kill(supervisor, signal.SIGUSR2)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, (out, err)
    assert "sweep     2 done, 0 failed, 0 skipped" in out
    log = Path(f"outputs/runs/.queue/{folder.name}.log").read_text()
    assert "stopped by signal" in log
    assert "resumed   after" in log


@pytest.mark.parametrize("teacher", ["teacher.checkpoint=teacher.safetensors", "teacher.checkpoint=null"])
def test_a_launcher_that_cannot_start_is_one_sentence(rlkd_run_process: Callable[..., Ended], teacher: str) -> None:
    needs("joblib")
    ended = rlkd_run_process(*JOBS, teacher, "hydra/launcher=joblib", "hydra.launcher.n_jobs=0")
    assert ended.code == 2
    assert ended.err == "rlkd-run: The launcher joblib ended early: n_jobs == 0 in Parallel has no meaning.\n"
    assert not list(Path("outputs/runs/.queue").glob("*.json"))


def test_a_process_that_is_killed_costs_its_own_job_alone() -> None:
    """joblib kills the others with it; what is left is begun once more."""
    needs("joblib")
    long = ["recipe.epochs=40", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]
    process = subprocess.Popen(command(*JOBS, *long), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while not list(Path("outputs/runs").glob("*/metrics.csv")):
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    lock = next(path for path in Path("outputs/runs/.queue").glob("*.lock") if path.read_text())
    os.kill(int(lock.read_text().split()[2]), signal.SIGKILL)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert "sweep     2 done, 0 failed, 0 skipped" in out
    assert err.startswith("rlkd-run: The launcher joblib ended early: A worker process managed by the executor was ")
    assert "Traceback" not in err


def test_submitits_command_waits_for_all_jobs_whichever_dies(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    needs("submitit")
    import submitit
    from hydra.core.utils import JobReturn, JobStatus
    from submitit.core.utils import UncompletedJobError

    @dataclass
    class Job:
        job_id: str
        state: str

    def outcome(job: Job) -> list[Any]:
        if job.job_id == "fine":
            return [5]
        error = UncompletedJobError(f"Job {job.job_id} has no output.\nand much more")
        if job.job_id == "used up":  # which submitit tells within the job, and Hydra as what came of it
            return [JobReturn(status=JobStatus.FAILED, _return_value=error)]
        raise error

    monkeypatch.setattr(submitit.Job, "results", outcome)
    jobs: list[Any] = [
        Job("lost", "OUT_OF_MEMORY"),
        Job("fine", ""),
        Job("ended", "CANCELLED by 0"),
        Job("used up", ""),
    ]
    with candid_launcher("submitit") as ended:
        found = [submitit.Job.results(job)[0] for job in (*jobs[:2], jobs[1], *jobs[2:])]  # tasks are asked once more
    assert ended == [2, 3]  # which nobody wants begun once more
    assert [one.return_value for one in (found[0], *found[3:])] == [None] * 3  # which Hydra asks for
    assert found[1] == 5
    assert submitit.Job.results is outcome
    reasons = {"lost": "OUT_OF_MEMORY", "ended": "CANCELLED by 0", "used up": "Job used up has no output"}
    said = [f"job       {name} ended without a result: {why}\n" for name, why in reasons.items()]
    assert capsys.readouterr().out == "".join(said)


def test_runs_whose_teacher_was_cancelled_are_not_begun(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    needs("joblib")
    launched: list[int] = []
    queued: list[int] = []

    def launch(runs: dict[Path, Any], command: Command, **options: Any) -> set[Path]:
        launched.append(len(runs))
        queued.append(len(list(Path("outputs/runs/.queue").glob("*.json"))))
        return set(runs)

    monkeypatch.setattr(sweep, "_launch", launch)
    jobs = [*JOBS, "teacher.checkpoint=null", "hydra/launcher=joblib"]
    assert sweep.run_sweep(compose_command(jobs)) == 1
    assert launched == [1, 0, 0]
    assert queued == [2, 2, 2], "what comes after the teachers is frozen before them, and --status knows it"
    out = capsys.readouterr().out
    assert "note      2 runs not begun, as the scheduler has ended, or still keeps, the job of the teacher: " in out
    assert "0 done, 0 failed, 0 skipped (finished before), 2 not finished" in out
