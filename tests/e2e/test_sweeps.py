"""Sweeps that survive: what fails, what is typed twice, what is edited meanwhile."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from support import TINY, Ended, command

from rlkd_run import worker
from rlkd_run.config.composition import compose_command
from rlkd_run.config.identity import folder_of
from rlkd_run.errors import ConfigError
from rlkd_run.job import Frozen
from rlkd_run.results.cli import main as rlkd_table

pytestmark = pytest.mark.usefixtures("a_teacher_at_hand")

GIVEN = "teacher.checkpoint=teacher.safetensors"
JOB = [*TINY, GIVEN, "temperature=fixed"]


def start(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(command(*arguments), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def test_two_equal_sweeps_at_once_share_the_work_and_the_teacher() -> None:
    sweep = [*TINY, "temperature=fixed", "teacher.recipe.epochs=25", "seed=0,1"]  # long enough to be waited for
    processes = [start(*sweep), start(*sweep)]
    both = [process.communicate(timeout=300)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], both
    printed = "".join(both)
    assert "another sweep is at it" in printed  # so that it does the other run first
    assert "waiting for process" in printed  # which needs the same teacher
    assert printed.count("epoch 25/25") == 1
    assert printed.count("epoch 2/2") == 2
    assert all("sweep     2 done, 0 failed, 0 skipped" in one for one in both)
    assert len(list(Path("outputs/runs").glob("*/result.json"))) == 2


PLUGIN = """
from rlkd_run.config.methods import KDOptions
from rlkd_run.config.registry import METHODS

METHODS.register("greedy", KDOptions, "greedy_class:Greedy")
"""
PLUGIN_CLASS = """
import torch
from rlkd_run.methods.kd import KD


class Greedy(KD):
    def __init__(self, *arguments):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")
"""
RECIPE = "defaults:\n  - cifar\n  - _self_\nepochs: 3\n"


def test_a_job_without_memory_and_a_yaml_that_is_edited(capsys: pytest.CaptureFixture[str]) -> None:
    """The first job runs out of memory; then the yaml breaks; the second job never hears of either."""
    Path("greedy.py").write_text(PLUGIN)
    Path("greedy_class.py").write_text(PLUGIN_CLASS)
    for group, content in {"recipe/short": RECIPE, "method/greedy": "defaults: [kd, _self_]\nname: greedy\n"}.items():
        path = Path("mine", f"{group}.yaml")
        path.parent.mkdir(parents=True)
        path.write_text(content)
    arguments = [text for text in JOB if not text.startswith("recipe.")]
    own = ["--plugin", "greedy", "--config-dir", "mine", "recipe=short", "method=greedy,kd"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", f"{Path.cwd()}:{Path(__file__).parents[2]}")
        process = start(*arguments, *own)
    while not capsys.readouterr().out.startswith("2 runs: 1 running, 1 waiting\n"):
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
        if Path("outputs").exists():
            assert rlkd_table(["--status", "outputs"]) == 0
    Path("mine/recipe/short.yaml").write_text("epochs: [this is no yaml")
    printed, _ = process.communicate(timeout=120)
    assert process.returncode == 1, printed
    assert "sweep     1 done, 1 failed, 0 skipped" in printed
    assert printed.splitlines()[-1].endswith("failed: CUDA out of memory. Tried to allocate 20.00 GiB")
    (failed,) = Path("outputs/runs").glob("*greedy*/status.json")
    assert "OutOfMemoryError: CUDA" in json.loads(failed.read_text())["traceback"]
    (done,) = Path("outputs/runs").glob("*kd*/result.json")
    assert json.loads(done.read_text())["epochs"] == 3
    assert rlkd_table(["--status", "outputs"]) == 0
    assert capsys.readouterr().out.startswith("2 runs: 1 finished, 1 failed\n  failed ")


def test_a_mistake_that_only_the_job_can_find_is_on_record() -> None:
    (config,) = compose_command(
        [*JOB, "student=resnet14", "teacher=resnet20"]
    ).runs  # the weights are another network's
    frozen = Frozen(config, Path.cwd()).write()
    with pytest.raises(ConfigError):
        worker._work(frozen, wait=False)
    status = json.loads((folder_of(config) / "status.json").read_text())
    assert status["state"] == "failed"
    assert "teacher.checkpoint" in status["message"]
    assert "ConfigError" in status["traceback"]


def test_a_sweep_that_cannot_be_written_is_one_sentence(rlkd_run: Callable[..., Ended]) -> None:
    Path("file").write_text("")
    ended = rlkd_run(*JOB, "seed=0,1", "output_root=file")
    assert ended.code == 2
    assert (
        ended.err == f"rlkd-run: The folder {Path('file').resolve()}/runs/.queue cannot be written: Not a directory.\n"
    )


def test_a_killed_cohort_is_on_record_for_each_of_its_runs_and_goes_on() -> None:
    sweep = [*JOB, "seed=0,1,2", "runtime.cohort=3", "recipe.epochs=12"]
    process = start(*sweep)
    while len(begun := list(Path("outputs/runs").glob("*/checkpoints/*.pt"))) < 3:
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    (worker_of_all,) = {json.loads((path.parents[1] / "status.json").read_text())["process"] for path in begun}
    os.kill(worker_of_all, signal.SIGKILL)
    printed, _ = process.communicate(timeout=120)
    assert process.returncode == 1, printed
    assert "sweep     0 done, 3 failed, 0 skipped" in printed
    *_, told, first, second, third = printed.splitlines()
    assert told.startswith("  failed: killed by SIGKILL")
    assert {Path(line.split()[0]) for line in (first, second, third)} == {path.parents[1] for path in begun}
    again = start(*sweep)
    printed, _ = again.communicate(timeout=120)
    assert again.returncode == 0, printed
    assert "sweep     3 done, 0 failed, 0 skipped" in printed
    assert printed.count("resumed   after") == 3


def test_settings_that_change_no_result_are_said_to(rlkd_run: Callable[..., Ended]) -> None:
    ended = rlkd_run(*JOB, "recipe.epochs=1", "runtime.channels_last=true,false")
    assert ended.code == 0, ended.err
    assert "note      2 settings, but only 1 different" in ended.out
    (result,) = Path("outputs/runs").glob("*/result.json")
    assert json.loads(result.read_text())["config"]["runtime"]["channels_last"] is False
