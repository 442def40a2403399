"""Runs side by side in one process end as they do alone."""

from __future__ import annotations

import csv
import json
import shutil
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from composed import composed
from support import TINY, command, save_untrained_teacher

from rlkd_run.cohort import distill_together
from rlkd_run.config.identity import run_folder
from rlkd_run.config.runconfig import RunConfig
from rlkd_run.errors import Interrupted, RunError
from rlkd_run.experiment import distill
from rlkd_run.fit import Fit
from rlkd_run.grouping import cohorts
from rlkd_run.interrupt import StopRequest
from rlkd_run.methods.kd import KD
from rlkd_run.record import finished

GIVEN = "teacher.checkpoint=teacher.safetensors"
COMMON = [*TINY, GIVEN, "recipe.batch_size=16", "runtime.progress=false", "runtime.cohort=9"]
# 26 steps each; the second member's agent learns, the third draws random numbers in every step, as does the last.
MEMBERS = [
    ["temperature=fixed", "seed=1"],
    ["agent.warmup_epochs=1", "agent.train_every=1", "agent.rollout_steps=4"],
    ["method=crd", "method.negatives=16", "temperature=ctkd"],
    ["method=crd", "method.negatives=16", "temperature=fixed"],
]


@pytest.fixture(autouse=True)
def _a_teacher_at_hand() -> None:
    save_untrained_teacher()


def members(*overrides: str, root: str = "outputs") -> list[RunConfig]:
    return [composed(*COMMON, *own, *overrides, f"output_root={root}", f"runtime.cache_root={root}/cache")
            for own in MEMBERS]  # fmt: skip


def together(configs: Sequence[RunConfig], failed: list[RunConfig] | None = None) -> list[Exception]:
    def note(config: RunConfig, error: Exception) -> None:
        assert failed is not None, error
        failed.append(config)

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
    assert together(shared) == []
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
    assert together(shared) == []
    assert [outcome(config) for config in shared] == [outcome(config) for config in alone]


def test_one_that_fails_leaves_the_others_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    shared = members()
    original = KD.forward
    calls = 0

    def failing(self: KD, *arguments: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 5:
            raise RunError("the first one breaks")
        return original(self, *arguments)

    monkeypatch.setattr(KD, "forward", failing)
    failed: list[RunConfig] = []
    (error,) = together(shared[::2], failed)
    assert str(error) == "the first one breaks"
    assert [finished(run_folder(config)) for config in shared[::2]] == [False, True]
    status = json.loads((run_folder(shared[0]) / "status.json").read_text())
    assert (status["state"], status["message"]) == ("failed", "the first one breaks")
    assert [config.seed for config in failed] == [1]


def test_who_may_be_together() -> None:
    first, *rest = members()
    other = composed(*COMMON, "recipe.lr=0.1")
    teaching = composed(*COMMON[:-1], "task=train_teacher")
    assert cohorts([first, other, *rest, teaching]) == [[first, *rest], [other], [teaching]]
    pairs = [composed(*COMMON, "runtime.cohort=2", f"seed={seed}") for seed in range(5)]
    assert [[run.seed for run in group] for group in cohorts(pairs)] == [[0, 1], [2, 3], [4]]
    alone = [composed(*COMMON[:-1], f"seed={seed}") for seed in range(2)]
    assert cohorts(alone) == [[alone[0]], [alone[1]]]


def weights() -> dict[str, bytes]:
    """Of every finished run, by the name of its folder."""
    folders = [path.parent for path in Path("outputs/runs").glob("*/result.json")]
    return {folder.name: (folder / "student.safetensors").read_bytes() for folder in folders}


def test_a_sweep_trains_its_runs_side_by_side() -> None:
    def sweep(*more: str) -> str:
        typed = command(*TINY, GIVEN, "temperature=fixed,random", "seed=0,1", *more)
        ended = subprocess.run(typed, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        assert ended.returncode == 0, ended.stdout
        return ended.stdout

    printed = sweep("runtime.cohort=3")
    assert printed.count("teacher   ") == 2  # three side by side, and the fourth
    assert printed.count("[kd fixed seed 1] epoch 2/2") == 1
    found = weights()
    assert len(found) == 4
    assert "0 done, 0 failed, 4 skipped" in sweep("runtime.cohort=3")
    shutil.rmtree("outputs")
    sweep()
    assert weights() == found
