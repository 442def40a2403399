"""A whole training, stopped where it hurts: what its records hold when it goes on."""

from __future__ import annotations

import csv
import errno
import json
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support import TINY, Ended

from rlkd_run.checkpoint import Checkpoints
from rlkd_run.errors import RunError
from rlkd_run.fit import Fit, History
from rlkd_run.record import RunFolder
from rlkd_run.tensorboard_log import TensorboardLog
from rlkd_run.training import Trainer

pytestmark = pytest.mark.usefixtures("a_teacher_at_hand")

# The last epoch is the only one, and its instances have temperatures of their own.
RUN = [*TINY, "recipe.epochs=1", "teacher.checkpoint=teacher.safetensors", "method=kd", "temperature=ctkd_instance"]


def test_an_epoch_that_was_saved_and_not_written_down_is_written_down_later(
    rlkd_run: Callable[..., Ended], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(folder: RunFolder, name: str, rows: Any) -> None:
        raise RunError("metrics.csv could not be written: No space left on device.")

    with monkeypatch.context() as stopped:
        stopped.setattr(RunFolder, "write_csv", full)
        assert rlkd_run(*RUN).code == 1
    ended = rlkd_run(*RUN)
    assert ended.code == 0, ended.err
    assert "resumed   after 1 epochs" in ended.out
    (folder,) = Path("outputs/runs").iterdir()
    for name in ("metrics.csv", "temperatures.csv"):
        assert [row["epoch"] for row in csv.DictReader((folder / name).read_text().splitlines())] == ["1"], name


@pytest.mark.parametrize(("saved", "words"), [(0, "starts anew"), (1, "goes on from it")])
def test_a_full_disk_promises_no_checkpoint_that_is_not_there(
    rlkd_run: Callable[..., Ended], monkeypatch: pytest.MonkeyPatch, saved: int, words: str
) -> None:
    save = Checkpoints.save

    def full(checkpoints: Checkpoints, state: Any, *, epoch: int, step: int) -> Path:
        if epoch > saved:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return save(checkpoints, state, epoch=epoch, step=step)

    monkeypatch.setattr(Checkpoints, "save", full)
    ended = rlkd_run(*RUN, "recipe.epochs=2")
    assert ended.code == 1
    assert ended.err.strip().endswith(f"the same command {words}.")


def test_checkpoints_that_cannot_be_read_end_the_command(
    rlkd_run: Callable[..., Ended], monkeypatch: pytest.MonkeyPatch
) -> None:
    def stale(checkpoints: Checkpoints) -> None:
        raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))

    monkeypatch.setattr(Checkpoints, "load", stale)
    ended = rlkd_run(*RUN)
    assert ended.code == 1
    (sentence,) = ended.err.strip().splitlines()
    assert sentence.startswith("rlkd-run: The checkpoints in outputs/runs/")
    assert "could not be read: Stale file handle; " in sentence


def after_step(epoch: int, action: Callable[[], None], monkeypatch: pytest.MonkeyPatch) -> None:
    """Let something happen within an epoch, from 0."""
    steps = Trainer.steps

    def disturbed(trainer: Trainer) -> Iterator[None]:
        for _ in steps(trainer):
            if (trainer.epoch, trainer.step) == (epoch, 2):
                action()
            yield

    monkeypatch.setattr(Trainer, "steps", disturbed)


def test_events_that_cannot_be_written_are_dropped(
    rlkd_run: Callable[..., Ended], monkeypatch: pytest.MonkeyPatch
) -> None:
    def clean_up() -> None:
        (place,) = Path("outputs/runs").glob("*/tensorboard")
        shutil.rmtree(place)

    after_step(0, clean_up, monkeypatch)
    ended = rlkd_run(*RUN, "recipe.epochs=2", "runtime.tensorboard=true")
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.count("warning   no events for TensorBoard from here on") == 1
    assert not list(Path("outputs/runs").glob("*/tensorboard"))


def test_every_epoch_is_logged_whenever_the_run_is_killed(
    rlkd_run: Callable[..., Ended], monkeypatch: pytest.MonkeyPatch
) -> None:
    logged: list[int] = []
    monkeypatch.setattr(TensorboardLog, "log", lambda log, row, temperatures: logged.append(row["epoch"]))
    write = Fit._write_history

    def killed(fit: Fit) -> None:
        if fit.trainer.epoch == 2:
            raise RunError("the disk is full.")
        write(fit)

    with monkeypatch.context() as patched:
        patched.setattr(Fit, "_write_history", killed)
        assert rlkd_run(*RUN, "recipe.epochs=3", "runtime.tensorboard=true").code == 1
    assert rlkd_run(*RUN, "recipe.epochs=3", "runtime.tensorboard=true").code == 0
    assert logged == [1, 2, 3]


def test_events_whose_folder_cannot_be_made_are_dropped(
    rlkd_run: Callable[..., Ended], monkeypatch: pytest.MonkeyPatch
) -> None:
    begin = RunFolder.begin

    def with_a_file_in_the_way(folder: RunFolder, *arguments: Any, **facts: Any) -> None:
        begin(folder, *arguments, **facts)
        (folder.path / "tensorboard").write_text("")

    monkeypatch.setattr(RunFolder, "begin", with_a_file_in_the_way)
    ended = rlkd_run(*RUN, "runtime.tensorboard=true")
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.count("warning   no events for TensorBoard from here on") == 1


@pytest.mark.parametrize("epoch", [0, 1])
def test_a_run_whose_folder_is_moved_ends_and_makes_no_new_one(
    rlkd_run: Callable[..., Ended], monkeypatch: pytest.MonkeyPatch, epoch: int
) -> None:
    def move() -> None:
        (place,) = Path("outputs/runs").iterdir()
        place.rename("moved")

    after_step(epoch, move, monkeypatch)
    ended = rlkd_run(*RUN, "recipe.epochs=2", "runtime.tensorboard=true")
    assert ended.code == 1
    (sentence,) = ended.err.strip().splitlines()
    assert sentence.endswith("No such file or directory; somebody has moved or removed the run folder.")
    assert not list(Path("outputs/runs").iterdir())


def test_an_epoch_has_a_rate_of_its_own() -> None:
    history = History()
    history.account(seconds=10.0, images=100)
    assert history.end_epoch() == 10.0
    history.account(seconds=1.0, images=60)
    history.account(seconds=1.0, images=40)
    assert history.end_epoch() == 50.0
    assert history.cost()["images_per_second"] == 200 / 12


def test_the_rate_of_an_epoch_is_of_all_its_sittings(
    rlkd_run: Callable[..., Ended], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = [*RUN, "recipe.epochs=3"]
    with monkeypatch.context() as stopped:
        after_step(1, lambda: os.kill(os.getpid(), signal.SIGTERM), stopped)
        assert rlkd_run(*run).code == 143
    assert rlkd_run(*run).code == 0
    (folder,) = Path("outputs/runs").iterdir()
    rows = list(csv.DictReader((folder / "metrics.csv").read_text().splitlines()))
    rates = [float(row["images_per_second"]) for row in rows]
    # All epochs have as many images, so that the mean over the run is the harmonic mean of their rates.
    mean = json.loads((folder / "result.json").read_text())["images_per_second"]
    assert len(rates) / sum(1 / rate for rate in rates) == pytest.approx(mean)
