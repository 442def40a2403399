"""A folder of images that are no longer those that a run or its teacher learned from."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pictures import FOLDER, image_tree
from support import TINY, Ended

from rlkd_run import experiment
from rlkd_run.config.datasets import DatasetOptions
from rlkd_run.data import digits
from rlkd_run.data.dataset import Loading
from rlkd_run.data.resident import ResidentDataset
from rlkd_run.errors import RunError

RUN = [*FOLDER, "temperature=fixed", "recipe.epochs=1"]


def swap(split: Path) -> None:
    (split / "class0").rename(split / "kept")
    (split / "class1").rename(split / "class0")
    (split / "kept").rename(split / "class1")


def only(kind: str) -> Path:
    (folder,) = (path for path in Path("outputs", kind).iterdir() if not path.name.startswith("."))
    return folder


def test_training_images_that_were_swapped(rlkd_run: Callable[..., Ended]) -> None:
    image_tree(Path("images"))
    assert rlkd_run(*RUN).code == 0
    assert "have changed" not in rlkd_run(*RUN).out
    swap(Path("images/train"))
    run, teacher = only("runs"), only("teachers")
    again = rlkd_run(*RUN)
    assert again.code == 0
    assert (
        "finished  before; this is its result\n"
        f"warning   the training images in images have changed since it was trained: remove {run} to have it trained "
        "anew, or give another series\n"
    ) in again.out
    assert (
        f"since it was trained: remove {teacher} to have it trained anew\n" in rlkd_run(*RUN, "task=train_teacher").out
    )
    assert "warning   the images of 1 have changed since: remove these folders" in rlkd_run(*RUN, "-m").out
    other = rlkd_run(*RUN, "seed=1")
    assert other.code == 2
    assert other.err == (
        f"rlkd-run: {teacher} was trained on other images than those in images now: remove it to have the teacher "
        f"trained anew, or give teacher.checkpoint={teacher}/teacher.safetensors to use it as it is.\n"
    )
    assert only("runs") == run
    assert rlkd_run(*RUN, "seed=1", f"teacher.checkpoint={teacher}/teacher.safetensors").code == 0


def test_test_images_that_were_swapped_leave_the_teacher_as_it_is(rlkd_run: Callable[..., Ended]) -> None:
    image_tree(Path("images"))
    assert rlkd_run(*RUN).code == 0
    swap(Path("images/val"))
    assert "warning   the test images in images have changed" in rlkd_run(*RUN).out
    assert rlkd_run(*RUN, "seed=1").code == 0


def test_records_without_a_fingerprint_pass(rlkd_run: Callable[..., Ended]) -> None:
    image_tree(Path("images"))
    assert rlkd_run(*RUN).code == 0
    for path in (only("runs") / "result.json", only("teachers") / "result.json"):
        record = json.loads(path.read_text())
        assert record.pop("images")["classes"] == ["class0", "class1", "class2"]
        path.write_text(json.dumps(record))
    swap(Path("images/train"))
    assert "have changed" not in rlkd_run(*RUN).out
    assert rlkd_run(*RUN, "seed=1").code == 0


def test_an_auxiliary_teacher_that_saw_other_images(rlkd_run: Callable[..., Ended]) -> None:
    image_tree(Path("images"))
    run = [*RUN, "method=infoflow", "method.auxiliary=resnet14"]
    assert rlkd_run(*run).code == 0
    swap(Path("images/train"))
    (auxiliary,) = Path("outputs/runs").glob("folder-resnet8-resnet14-*")
    ended = rlkd_run(*run, "seed=1")
    assert ended.code == 2
    assert ended.err == (
        f"rlkd-run: {auxiliary} was trained on other images than those in images now: remove it to have it distilled "
        "anew.\n"
    )


@pytest.mark.parametrize(("task", "kind"), [("distill", "runs"), ("train_teacher", "teachers")])
def test_nothing_goes_on_with_other_images(
    rlkd_run: Callable[..., Ended], monkeypatch: pytest.MonkeyPatch, task: str, kind: str
) -> None:
    def stop(*arguments: Any) -> None:
        raise RunError("stopped with its checkpoints.")

    image_tree(Path("images"))
    shutil.copytree("images", "kept")
    if task == "distill":
        assert rlkd_run(*RUN, "task=train_teacher").code == 0
    with monkeypatch.context() as patch:
        patch.setattr(experiment if task == "distill" else experiment.teachers, "save_weights", stop)
        assert rlkd_run(*RUN, f"task={task}").code == 1
    swap(Path("images/train"))
    ended = rlkd_run(*RUN, f"task={task}")
    assert ended.code == 2
    assert ended.err == (
        f"rlkd-run: {only(kind)} was begun on other training images than those in images now: bring those back to go "
        "on, or remove the folder to start anew.\n"
    )
    swap(Path("images/train"))
    ended = rlkd_run(*RUN, f"task={task}")
    assert ended.code == 0, ended.err


def test_a_finished_run_is_compared_without_importing_torch() -> None:
    code = "import sys, rlkd_run.same_images; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0


def test_other_pixels_under_the_name_of_a_data_set_of_ones_own(
    rlkd_run: Callable[..., Ended], monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = digits.read_digits()

    def opened(options: DatasetOptions, loading: Loading) -> ResidentDataset:
        return ResidentDataset(options, raw, loading)

    monkeypatch.setattr(digits, "open_digits", opened)
    run = [*TINY, "temperature=fixed", "recipe.epochs=1"]
    assert rlkd_run(*run).code == 0
    raw = raw._replace(train_images=raw.train_images.flip(0))
    other = rlkd_run(*run, "seed=1")
    assert other.code == 2
    assert " was trained on other images than those of dataset=digits now: remove it " in other.err
    assert rlkd_run(*run).code == 0, "a finished run stays finished"
    result = only("runs") / "result.json"
    folder = result.parent
    result.unlink()  # as if it had been stopped
    (folder / "checkpoints").mkdir(exist_ok=True)
    (folder / "checkpoints/epoch-00001-step-0000000.pt").touch()
    half = rlkd_run(*run)
    assert half.code == 2
    assert " was begun on other training images than those of dataset=digits now: " in half.err
