"""A fingerprint tells whether a tree of images is still the same, and costs a listing and a few sizes."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rlkd_run.data import fingerprint as module
from rlkd_run.data.classes import class_folders
from rlkd_run.data.fingerprint import Fingerprint, changed_images, fingerprint


def tree(root: Path = Path("images")) -> Path:
    for split in ("train", "val"):
        for label in range(3):
            folder = root / split / f"class{label}"
            folder.mkdir(parents=True)
            for number in range(5):
                (folder / f"{number}.jpg").write_bytes(b"x" * (10 * label + number))
    return root


def of(root: Path) -> Fingerprint:
    return fingerprint(class_folders(root / "train"), class_folders(root / "val"))


def test_it_stays_what_it_is_in_the_records() -> None:
    assert of(tree()) == {"train": "5508db6c54cbc3da", "test": "5508db6c54cbc3da"}


def test_a_copy_elsewhere_is_the_same() -> None:
    root = tree()
    before = of(root)
    shutil.copytree(root, "deep/er/copy")  # with new times
    (Path("deep/er/copy/train/class0/notes.txt")).write_text("no image")
    assert of(Path("deep/er/copy")) == of(Path.cwd() / root) == before


def swap(train: Path) -> Any:
    (train / "class0").rename(train / "kept")
    (train / "class1").rename(train / "class0")
    (train / "kept").rename(train / "class1")


@pytest.mark.parametrize(
    "change",
    [
        swap,
        lambda train: (train / "class2").rename(train / "klass2"),
        lambda train: shutil.copytree(train / "class2", train / "class3"),
        lambda train: (train / "class1/3.jpg").rename(train / "class1/6.jpg"),
        lambda train: (train / "class1/4.jpg").unlink(),
        lambda train: (train / "class1/3.jpg").rename(train / "class2/3b.jpg"),
        lambda train: (train / "class1/3.jpg").write_bytes(b""),
    ],
    ids=["swapped", "renamed", "a class more", "a file's name", "a file less", "moved", "a file's size"],
)
def test_what_changes_it(change: Callable[[Path], Any]) -> None:
    root = tree()
    before = of(root)
    change(root / "train")
    assert changed_images(before, of(root)) == "training images"
    assert changed_images(before, of(root), ["test"]) is None
    shutil.copytree(root / "val/class0", root / "val/more")
    assert changed_images(before, of(root)) == "training images and test images"


def test_where_nobody_can_tell_nothing_has_changed() -> None:
    assert changed_images(None, {"train": "1", "test": "2"}) is None
    assert changed_images({"train": "1", "test": "2"}, None) is None


def test_few_files_are_asked_for_their_size(monkeypatch: pytest.MonkeyPatch) -> None:
    root, asked, stat = tree(), [], os.stat
    train = class_folders(root / "train")
    monkeypatch.setattr(module, "_SIZES", 7)  # two of each class
    monkeypatch.setattr(os, "stat", lambda path: (asked.append(str(path)), stat(path))[1])
    fingerprint(train, {})
    assert asked == [f"images/train/class{label}/{number}.jpg" for label in range(3) for number in (0, 3)]


def test_files_come_in_the_order_of_paths() -> None:
    folder = Path("split/class")
    for name in ("b/1.png", "b.png", "b-c/2.PNG", "a.jpg", "b/.hidden.png", ".thumbs/3.png", "b/c/4.png", "notes.txt"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    files = class_folders(Path("split"))["class"].files
    assert len(files) == 5
    assert list(map(Path, files)) == sorted(map(Path, files))
