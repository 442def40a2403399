"""The tasks on a finished run: on the images that its record names, on others, and on none."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from pictures import FOLDER, image_tree
from support import Ended


@pytest.fixture
def run(rlkd_run: Callable[..., Ended]) -> Path:
    image_tree(Path("images"))
    ended = rlkd_run(*FOLDER, "temperature=fixed", "recipe.epochs=1")
    assert ended.code == 0, ended.err
    (folder,) = Path("outputs/runs").iterdir()
    return folder


def forget_images(run: Path) -> None:
    """The record as earlier versions wrote it."""
    record = json.loads((run / "result.json").read_text())
    del record["images"]
    (run / "result.json").write_text(json.dumps(record))


def test_images_that_are_given_win_over_the_recorded_ones(rlkd_run: Callable[..., Ended], run: Path) -> None:
    recorded = rlkd_run("task=evaluate", f"run={run}")
    assert "images    folder, dataset.root=images\n" in recorded.out
    shutil.copytree("images", "others")
    for file in Path("others/val").glob("*/3.png"):
        file.unlink()
    other = rlkd_run("task=evaluate", f"run={run}", "dataset.root=others")
    assert other.code == 0, other.err
    assert "images    folder, dataset.root=others\n" in other.out
    assert [line.rsplit(" on ")[1] for line in other.out.splitlines() if " top-5 " in line] == ["9 images"] * 2
    nowhere = rlkd_run("task=evaluate", f"run={run}", "dataset.root=nowhere")
    assert nowhere.code == 2
    assert nowhere.err.startswith("rlkd-run: dataset.root=nowhere is not a folder")


def test_images_that_have_moved_leave_the_teacher_where_it_is(rlkd_run: Callable[..., Ended], run: Path) -> None:
    Path("images").rename("moved")
    gone = rlkd_run("task=evaluate", f"run={run}")
    assert gone.code == 2
    assert gone.err == (
        f"rlkd-run: run={run} has its images in images, which is not there; dataset.root=FOLDER says where they are "
        "now.\n"
    )
    there = rlkd_run("task=evaluate", f"run={run}", "dataset.root=moved")
    assert there.code == 0, there.err
    assert json.loads((run / "evaluation.json").read_text()).keys() == {"student", "teacher"}


@pytest.mark.parametrize("recorded", [True, False])
def test_other_classes_are_no_test_of_this_student(rlkd_run: Callable[..., Ended], run: Path, recorded: bool) -> None:
    if not recorded:
        forget_images(run)
    for split in ("train", "val"):
        shutil.copytree(f"images/{split}/class0", f"images/{split}/new")
    ended = rlkd_run("task=evaluate", f"run={run}")
    assert ended.code == 2
    if recorded:
        assert ended.err == (
            f"rlkd-run: dataset.root=images has other classes than run={run} was trained with: it adds new.\n"
        )
    else:
        assert "has 3 classes, the data set 4" in ended.err


def test_an_export_needs_no_images(rlkd_run: Callable[..., Ended], run: Path) -> None:
    shutil.rmtree("images")
    ended = rlkd_run("task=export", f"run={run}")
    assert ended.code == 0, ended.err
    card = json.loads((run / "export/card.json").read_text())
    assert card["classes"] == ["class0", "class1", "class2"]
    assert card["input"]["shape"] == [3, 16, 16]
    forget_images(run)
    ended = rlkd_run("task=export", f"run={run}")
    assert ended.code == 2
    assert "has its images in images, which is not there" in ended.err


def test_the_record_of_an_earlier_version_is_exported_with_its_images(
    rlkd_run: Callable[..., Ended], run: Path
) -> None:
    forget_images(run)
    Path("images").rename("moved")
    ended = rlkd_run("task=export", f"run={run}", "dataset.root=moved")
    assert ended.code == 0, ended.err
    assert json.loads((run / "export/card.json").read_text())["classes"] == ["class0", "class1", "class2"]


def test_what_was_decoded_on_a_gpu_is_looked_at_without_one(rlkd_run: Callable[..., Ended], run: Path) -> None:
    record = json.loads((run / "result.json").read_text())
    record["config"]["dataset"]["decode"] = "gpu"
    (run / "result.json").write_text(json.dumps(record))
    ended = rlkd_run("task=evaluate", f"run={run}", "runtime.device=cpu")
    assert ended.code == 0, ended.err
    assert "student   resnet" in ended.out
