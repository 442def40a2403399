"""Runs side by side in one process end as they do alone."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from composed import composed
from support import TINY, command

from rlkd_run import worker
from rlkd_run.cohort import distill_together
from rlkd_run.config.composition import compose_command
from rlkd_run.config.identity import run_folder
from rlkd_run.config.runconfig import RunConfig
from rlkd_run.errors import ConfigError, Interrupted, RunError
from rlkd_run.experiment import distill
from rlkd_run.fit import Fit
from rlkd_run.grouping import cohorts, labels
from rlkd_run.interrupt import StopRequest
from rlkd_run.job import Ended, Frozen, note_end, write_together
from rlkd_run.locks import try_lock
from rlkd_run.methods.kd import KD
from rlkd_run.queue_files import forget, forget_together, lock_file, log_file, one_log, queued
from rlkd_run.record import RunFolder, finished
from rlkd_run.results.status import standing

pytestmark = pytest.mark.usefixtures("a_teacher_at_hand")

GIVEN = "teacher.checkpoint=teacher.safetensors"
COMMON = [*TINY, GIVEN, "recipe.batch_size=16", "runtime.progress=false", "runtime.cohort=9"]
# 26 steps each; the second member's agent learns, the third draws random numbers in every step, as does the last.
MEMBERS = [
    ["temperature=fixed", "seed=1"],
    ["agent.warmup_epochs=1", "agent.train_every=1", "agent.rollout_steps=4"],
    ["method=crd", "method.negatives=16", "temperature=ctkd"],
    ["method=crd", "method.negatives=16", "temperature=fixed"],
]


def members(*overrides: str, root: str = "outputs") -> list[RunConfig]:
    return [composed(*COMMON, *own, *overrides, f"output_root={root}", f"runtime.cache_root={root}/cache")
            for own in MEMBERS]  # fmt: skip


def together(configs: Sequence[RunConfig], failed: dict[int, str] | None = None) -> int:
    """Trains them; the sentences of those that fail go into `failed`, by seed."""

    def note(config: RunConfig, error: Exception) -> None:
        assert failed is not None, error
        failed[config.seed] = str(error)

    return distill_together(configs, wait=False, note=note)


def outcome(config: RunConfig) -> dict[str, Any]:
    """What a run has left, but for times."""
    folder = run_folder(config)
    result = json.loads((folder / "result.json").read_text())
    rows = list(csv.DictReader((folder / "metrics.csv").read_text().splitlines()))
    return {
        "weights": (folder / "student.safetensors").read_bytes(),
        "student": result["student"],
        "teacher": result["teacher"],
        "rows": [{name: value for name, value in row.items() if name != "images_per_second"} for row in rows],
    }


@pytest.mark.parametrize("cache", ["none", "lazy", "full"])
def test_each_ends_in_the_bits_of_its_run_alone(cache: str) -> None:
    alone = members("runtime.teacher_cache=full" if cache == "full" else "runtime.teacher_cache=none", root="alone")
    for config in alone:
        distill(config)
    shared = members(f"runtime.teacher_cache={cache}")
    assert together(shared) == 0
    for one, other in zip(alone, shared, strict=True):
        expected, found = outcome(one), outcome(other)
        if cache == "lazy":  # exact to float tolerance only
            expected, found = (
                {"top1": [float(row["test_top1"]) for row in value["rows"]]} for value in (expected, found)
            )
            assert found["top1"] == pytest.approx(expected["top1"], abs=5)
        else:
            assert found == expected


def test_stopped_together_they_go_on_together(monkeypatch: pytest.MonkeyPatch) -> None:
    alone = members(root="alone")
    for config in alone:
        distill(config)
    shared = members()
    steps = 0
    original = Fit.steps

    def counted(self: Fit, stop: StopRequest) -> Any:
        nonlocal steps
        for _ in original(self, stop):
            steps += 1
            if steps == 50:
                signal.raise_signal(signal.SIGTERM)
            yield

    with monkeypatch.context() as patch:
        patch.setattr(Fit, "steps", counted)
        with pytest.raises(Interrupted):
            together(shared)
    states = [json.loads((run_folder(config) / "status.json").read_text())["state"] for config in shared]
    assert states == ["interrupted"] * len(shared)
    assert together(shared) == 0
    assert [outcome(config) for config in shared] == [outcome(config) for config in alone]


@pytest.mark.parametrize("step", [1, 5])  # in its first one, no other has begun
def test_one_that_fails_leaves_the_others_alone(step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    shared = members()
    original = KD.forward
    calls = 0

    def failing(self: KD, *arguments: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == step:
            raise RunError("the first one breaks")
        return original(self, *arguments)

    monkeypatch.setattr(KD, "forward", failing)
    failed: dict[int, str] = {}
    assert together(shared[::2], failed) == 1
    assert failed == {1: "the first one breaks"}
    assert [finished(run_folder(config)) for config in shared[::2]] == [False, True]
    status = json.loads((run_folder(shared[0]) / "status.json").read_text())
    assert (status["state"], status["message"]) == ("failed", "the first one breaks")


def test_who_may_be_together() -> None:
    first, *rest = members()
    other = composed(*COMMON, "recipe.lr=0.1")
    teaching = composed(*COMMON[:-1], "task=train_teacher", "teacher.checkpoint=null")
    assert cohorts([first, other, *rest, teaching]) == [[first, *rest], [other], [teaching]]
    pairs = [composed(*COMMON, "runtime.cohort=2", f"seed={seed}") for seed in range(5)]
    assert [[run.seed for run in group] for group in cohorts(pairs)] == [[0, 1], [2, 3], [4]]
    alone = [composed(*COMMON[:-1], f"seed={seed}") for seed in range(2)]
    assert cohorts(alone) == [[alone[0]], [alone[1]]]


def weights() -> dict[str, bytes]:
    """Of every finished run, by the name of its folder."""
    folders = [path.parent for path in Path("outputs/runs").glob("*/result.json")]
    return {folder.name: (folder / "student.safetensors").read_bytes() for folder in folders}


def test_what_tells_members_apart_is_in_their_labels() -> None:
    runs = [
        composed(*COMMON, "temperature=fixed", "temperature.value=2"),
        composed(*COMMON, "temperature=fixed", "temperature.value=4"),
        composed(*COMMON, "temperature=fixed", "temperature.value=4", "seed=1"),
        composed(*COMMON, "agent.calibration.kind=none"),
        composed(*COMMON, "agent.hidden=64"),
    ]
    assert labels(runs) == [
        "kd fixed temperature.value=2.0 seed 0",
        "kd fixed temperature.value=4.0 seed 0",
        "kd fixed temperature.value=4.0 seed 1",
        "kd rlkd agent.hidden=256 agent.calibration.kind=none seed 0",
        "kd rlkd agent.hidden=64 agent.calibration.kind=lstm seed 0",
    ]
    assert labels(runs[1:3]) == ["kd fixed seed 0", "kd fixed seed 1"]


def test_a_sweep_trains_its_runs_side_by_side() -> None:
    def sweep(*more: str) -> str:
        typed = command(*TINY, GIVEN, "temperature=fixed,random", "seed=0,1", *more)
        ended = subprocess.run(typed, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        assert ended.returncode == 0, ended.stdout
        return ended.stdout

    printed = sweep("runtime.cohort=3")
    assert "cohorts   4 runs in 2 processes" in printed
    assert printed.count("teacher   ") == 2  # three side by side, and the fourth
    assert printed.count("[kd fixed seed 1] epoch 2/2") == 1
    found = weights()
    assert len(found) == 4
    assert "0 done, 0 failed, 4 skipped" in sweep("runtime.cohort=3")
    shutil.rmtree("outputs")
    sweep()
    assert weights() == found


def test_a_stop_while_they_are_put_together_stops_all(monkeypatch: pytest.MonkeyPatch) -> None:
    from rlkd_run import experiment

    shared = members()
    asked: list[int] = []
    original = experiment.build

    def build(config: RunConfig, *arguments: Any) -> Any:
        asked.append(config.seed)
        if len(asked) == 2:
            raise Interrupted(signal.SIGTERM)  # as a handler does
        return original(config, *arguments)

    monkeypatch.setattr(experiment, "build", build)
    with pytest.raises(Interrupted):
        together(shared)
    assert len(asked) == 2
    state = json.loads((run_folder(shared[0]) / "status.json").read_text())["state"]
    assert state == "interrupted"
    assert not run_folder(shared[1]).exists()


def test_one_whose_folder_cannot_be_written_leaves_the_others_alone(capfd: pytest.CaptureFixture[str]) -> None:
    shared = members()[:2]
    in_the_way = run_folder(shared[0])
    in_the_way.parent.mkdir(parents=True)
    in_the_way.write_text("a file")
    paths = [Frozen(config, Path.cwd()).write() for config in shared]
    assert worker._together(paths, wait=False) == 1
    assert finished(run_folder(shared[1]))
    assert f"rlkd-run: {in_the_way}: The run folder {in_the_way} cannot be written" in capfd.readouterr().err


def test_what_ends_all_of_them_is_on_record_for_each(monkeypatch: pytest.MonkeyPatch) -> None:
    shared = members("runtime.device=cuda")[:2]
    paths = [Frozen(config, Path.cwd()).write() for config in shared]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigError):
        worker._together(paths, wait=False)
    for config in shared:
        status = json.loads((run_folder(config) / "status.json").read_text())
        assert status["state"] == "failed"
        assert "torch sees no GPU" in status["message"]


def test_records_hold_what_was_typed() -> None:
    shared = members("runtime.progress=true")[:2]
    assert together(shared) == 0
    for config in shared:
        record = json.loads((run_folder(config) / "result.json").read_text())
        assert record["config"]["runtime"]["progress"] is True
        assert record["config"]["runtime"]["cohort"] == 9


def test_weights_and_biases_takes_one_run_a_process() -> None:
    with pytest.raises(ConfigError) as refused:
        compose_command([*TINY, "runtime.cohort=2", "runtime.wandb=project"])
    assert any("runtime.cohort must be 1" in problem for problem in refused.value.problems)


def test_one_that_failed_has_failed_while_the_others_go_on() -> None:
    folder = Path("series/run")
    lock_file(folder).parent.mkdir(parents=True)
    with open(lock_file(folder), "a") as lock:
        assert try_lock(lock)
        lock.write("host 1 2")
        lock.flush()
        with RunFolder(folder) as run:
            run.begin({})
            assert standing(folder).state == "running"
            run.failed(RunError("the loss is not finite"))
        os.utime(lock_file(folder), (0, time.time() - 60))
        assert standing(folder).words == "failed: the loss is not finite"
        os.utime(lock_file(folder), (0, time.time() + 60))  # a job that has begun since then
        assert standing(folder).state == "running"
    note_end(folder, Ended(-9, None, os.getpid()))
    assert standing(folder).words == "failed: the loss is not finite"
    note_end(folder, Ended(-9, None, 1))
    assert "SIGKILL" in standing(folder).detail


def test_a_job_of_several_has_one_log_and_goes_when_all_are_gone() -> None:
    shared = members()[:2]
    files = [Frozen(config, Path.cwd()).write() for config in shared]
    path = write_together(files)
    folders = [run_folder(config) for config in shared]
    assert list(queued(folders[0].parent)) == sorted(folders)
    one_log(folders).write_text("printed")
    assert log_file(folders[1]).read_text() == "printed"
    assert one_log(folders[::-1]) == log_file(folders[1])
    assert not log_file(folders[1]).exists()  # it will be written anew
    forget(folders[0])
    forget_together(path)
    assert path.exists()
    forget(folders[1])
    forget_together(path)
    assert not path.exists()
