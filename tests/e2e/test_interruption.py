"""Killed anywhere, and the same command typed again: the same weights as an undisturbed run, bit for bit."""

from __future__ import annotations

import csv
import errno
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from forked import Forked
from safetensors.torch import load_file
from support import TINY, Ended, command

from rlkd_run.files import write_atomically
from rlkd_run.models import weights

pytestmark = pytest.mark.usefixtures("a_teacher_at_hand")

TEACHER = "teacher.checkpoint=teacher.safetensors"
# A checkpoint after every step, so that a kill often meets one that is being written.
RUN = [*TINY, TEACHER, "recipe.epochs=8", "recipe.batch_size=16", "agent.rollout_steps=4", "agent.warmup_epochs=3",
       "agent.train_every=2", "runtime.checkpoint_minutes=1e-6"]  # fmt: skip

STEPS = 13  # an epoch: 200 images in batches of 16


def final(root: str) -> dict[str, torch.Tensor]:
    (path,) = Path(root, "runs").glob("*/student.safetensors")
    return load_file(path)


def metrics(root: str) -> list[dict[str, str]]:
    """The rows of a run's epochs without the throughput, which no two runs share."""
    (path,) = Path(root, "runs").glob("*/metrics.csv")
    rows = list(csv.DictReader(path.read_text().splitlines()))
    return [{name: value for name, value in row.items() if name != "images_per_second"} for row in rows]


def start_sweep(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(command(*arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def checkpoints(root: str) -> set[str]:
    return {path.name for path in Path(root).rglob("checkpoints/*.pt")}


def newest(root: str) -> tuple[int, int]:
    """Whole epochs and further steps that the newest checkpoint holds."""
    name = max(checkpoints(root), default="epoch-00000-step-0000000.pt")
    return int(name[6:11]), int(name[17:24])


def test_killed_ten_times_and_more() -> None:
    undisturbed = Forked(*RUN, "output_root=undisturbed")
    assert undisturbed.ended(within=300) == 0, undisturbed.err
    chance = random.Random(0)
    met_in, while_writing = set(), 0
    for kill in range(10):
        epoch, step = divmod(9 * kill + 3, STEPS)
        process = Forked(*RUN, "output_root=killed")
        while newest("killed") < (epoch, step):
            assert process.ended(within=0) is None, process.err
            time.sleep(0.002)
        if kill % 3 == 2:  # while a checkpoint is being written
            deadline = time.monotonic() + 5
            while not list(Path("killed").rglob("checkpoints/.*.tmp")) and time.monotonic() < deadline:
                pass
        else:
            time.sleep(chance.random() * 0.05)
        process.send_signal(signal.SIGKILL)
        assert process.ended(within=60) == -signal.SIGKILL
        while_writing += bool(list(Path("killed").rglob("checkpoints/.*.tmp")))
        met_in.add(newest("killed")[0] + 1)
        assert not list(Path("killed").glob("runs/*/result.json")), f"finished before kill {kill + 1}"
    assert while_writing > 0
    assert met_in & {1, 2}  # warm-up
    assert met_in & {4, 6, 8}  # epochs in which the agent learns
    last = Forked(*RUN, "output_root=killed")
    assert last.ended(within=300) == 0, last.err
    assert "resumed   after" in last.out
    expected, found = final("undisturbed"), final("killed")
    assert expected.keys() == found.keys()
    for name, value in expected.items():
        assert torch.equal(value, found[name]), name
    assert metrics("undisturbed") == metrics("killed")
    temperatures = [next(Path(root, "runs").glob("*/temperatures.csv")) for root in ("undisturbed", "killed")]
    assert temperatures[0].read_bytes() == temperatures[1].read_bytes()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_signals_save_and_say_so(number: signal.Signals, code: int) -> None:
    process = Forked(*RUN, "runtime.checkpoint_minutes=10", "recipe.epochs=40")
    while "\nepoch" not in process.out:
        assert process.ended(within=0.01) is None, process.err
    process.send_signal(number)
    assert process.ended(within=60) == code, process.err + process.out
    assert process.err.strip().splitlines()[-1].endswith("the same command goes on from here")
    (folder,) = Path("outputs/runs").iterdir()
    assert json.loads((folder / "status.json").read_text())["state"] == "interrupted"
    assert checkpoints("outputs")


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="needs Linux")
def test_a_signal_among_the_imports_counts() -> None:
    """Half an import breaks other modules, or the exception is lost in it."""
    process = subprocess.Popen(command(*RUN), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while "libtorch_cpu" not in Path(f"/proc/{process.pid}/maps").read_text():
        assert process.poll() is None, process.communicate()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (130, "rlkd-run: stopped by signal 2; the same command goes on from here\n")


def test_a_damaged_checkpoint_is_said_aloud(rlkd_run: Callable[..., Ended]) -> None:
    """The newest checkpoint is damaged: the one before it serves, and the end is the same."""
    process = Forked(*RUN, "output_root=damaged")
    while not any(name >= "epoch-00002" for name in checkpoints("damaged/runs")):
        assert process.ended(within=0.01) is None, process.err
    process.send_signal(signal.SIGKILL)
    process.ended()
    newest = max(Path("damaged/runs").rglob("checkpoints/*.pt"))
    newest.write_bytes(newest.read_bytes()[:-100])
    ended = rlkd_run(*RUN, "output_root=damaged")
    assert ended.code == 0, ended.err
    assert f"{newest} does not verify (" in ended.out
    assert rlkd_run(*RUN, "output_root=whole").code == 0
    expected, found = final("whole"), final("damaged")
    assert all(torch.equal(value, found[name]) for name, value in expected.items())


@pytest.mark.parametrize("at", [1, 2], ids=["teacher", "student"])
def test_a_disk_that_is_full_at_the_very_end(
    rlkd_run: Callable[..., Ended], monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    """Nothing but the weights of the last epoch could not be written: no epoch has to be trained again."""
    written = []

    def full(path: Path, content: bytes) -> None:
        written.append(path)
        if len(written) == at:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write_atomically(path, content)

    run = [*TINY, "recipe.epochs=2", "teacher.recipe.epochs=2"]
    with monkeypatch.context() as patched:
        patched.setattr(weights, "write_atomically", full)
        ended = rlkd_run(*run)
    assert (ended.code, ended.err) == (1, f"rlkd-run: {written[-1]} cannot be written: No space left on device.\n")
    again = rlkd_run(*run)
    assert again.code == 0, again.err
    assert again.out.count("\nepoch") == (2 if at == 1 else 0)


def test_a_killed_job_of_a_sweep_is_on_record_and_resumed(rlkd_run_process: Callable[..., Ended]) -> None:
    sweep = [*RUN, "seed=0,1", "recipe.epochs=6", "agent.warmup_epochs=1", "agent.train_every=1"]
    process = start_sweep(*sweep)
    while not list(Path("outputs/runs").glob("*seed0*/checkpoints/*.pt")):
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    (folder,) = Path("outputs/runs").glob("*seed0*")
    job = json.loads((folder / "status.json").read_text())["process"]
    subprocess.run(["kill", "-9", str(job)], check=True)
    out, _ = process.communicate(timeout=300)
    assert process.returncode == 1
    assert "sweep     1 done, 1 failed, 0 skipped" in out
    assert "failed: killed by SIGKILL" in out
    again = rlkd_run_process(*sweep)
    assert again.code == 0, again.err
    assert "sweep     2 runs, 1 finished before" in again.out
    assert "resumed   after" in again.out


def test_a_signal_stops_the_whole_sweep() -> None:
    process = start_sweep(*RUN, "seed=0,1", "recipe.epochs=40")
    while not list(Path("outputs/runs").glob("*seed0*/checkpoints/*.pt")):
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 143, err
    assert out.count("--- outputs") == 1
    assert "sweep     0 done, 0 failed, 0 skipped (finished before), 2 not finished" in out
    (folder,) = Path("outputs/runs").glob("*seed*")
    assert json.loads((folder / "status.json").read_text())["state"] == "interrupted"


IN_A_TERMINAL = """
import os, signal, sys

signal.signal(signal.SIGHUP, signal.SIG_DFL)  # the tests may have been started with nohup
terminal = os.open(sys.argv[1], os.O_RDWR)  # of a session that has none: it becomes this one's
for number in range(3):
    os.dup2(terminal, number)
os.execv(sys.argv[2], sys.argv[2:])
"""


def close_terminal_of(typed: list[str]) -> subprocess.Popen[bytes]:
    """Start a command on a terminal, which is closed when the first checkpoint is there.

    Args:
        typed: the command; the terminal's path comes in place of TERMINAL.
    """
    ours, theirs = os.openpty()
    typed = [os.ttyname(theirs) if word == "TERMINAL" else word for word in typed]
    process = subprocess.Popen(typed, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True)
    os.close(theirs)
    os.set_blocking(ours, False)
    shown = b""
    while not list(Path("outputs/runs").glob("*seed0*/checkpoints/*.pt")):
        with suppress(OSError):  # nothing there, or nobody yet
            shown += os.read(ours, 1 << 16)
        assert process.poll() is None, shown
        time.sleep(0.01)
    os.close(ours)
    return process


ONE_OR_MANY = pytest.mark.parametrize("jobs", [[], ["seed=0,1"]], ids=["one run", "a sweep"])


@ONE_OR_MANY
def test_a_closed_terminal_saves(jobs: list[str]) -> None:
    """Nothing can be printed any more when the signal comes."""
    typed = command(*RUN, "runtime.checkpoint_minutes=10", "recipe.epochs=40", *jobs)
    process = close_terminal_of([sys.executable, "-c", IN_A_TERMINAL, "TERMINAL", *typed])
    assert process.wait(timeout=60) == 129
    (folder,) = Path("outputs/runs").glob("*seed0*")
    assert json.loads((folder / "status.json").read_text())["state"] == "interrupted"
    assert len(list(Path("outputs/runs").glob("*seed*"))) == 1


@ONE_OR_MANY
def test_a_terminal_that_goes_without_a_signal_stops_nothing(jobs: list[str]) -> None:
    """As after the shell's `disown`: the terminal is not the command's own."""
    process = close_terminal_of(command(*RUN, *jobs))
    assert process.wait(timeout=120) == 0
    states = [json.loads(path.read_text())["state"] for path in Path("outputs/runs").glob("*/status.json")]
    assert states == ["finished"] * (2 if jobs else 1)


def test_a_killed_sweep_leaves_no_job_behind() -> None:
    process = start_sweep(*RUN, "seed=0,1", "recipe.epochs=40")
    while not list(Path("outputs").rglob("status.json")):
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    job = json.loads(next(Path("outputs").rglob("status.json")).read_text())["process"]
    process.kill()
    process.communicate()
    for _ in range(100):
        if not Path(f"/proc/{job}").exists() or "Z" in Path(f"/proc/{job}/stat").read_text().split()[2]:
            return
        time.sleep(0.05)
    pytest.fail("the job outlived its sweep")
