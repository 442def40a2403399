"""Trees and image files that cannot be used: one sentence that names the culprit."""

from __future__ import annotations

import gc
import multiprocessing
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from rlkd_run.data.dataset import Dataset
from rlkd_run.errors import ConfigError
from rlkd_run.protocol import Batch, MixPlan

pytestmark = [
    pytest.mark.filterwarnings("ignore:This process .* is multi-threaded, use of fork:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning"),  # a machine with one core
]

Tree = Callable[..., Path]
Opener = Callable[..., Dataset]


def problems(do: Callable[[], Any]) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        do()
    for problem in caught.value.problems:
        assert "\n" not in problem
        assert problem.endswith(".")
    return caught.value.problems


def empty(*folders: Path) -> Any:
    for folder in folders:
        for file in folder.iterdir():
            file.unlink()


def no_classes(split: Path) -> Any:
    shutil.rmtree(split)
    split.mkdir()


def two_at_once(root: Path) -> Any:
    shutil.rmtree(root / "val/class1")
    empty(root / "train/class0")


def one_class(root: Path) -> Any:
    for label in (1, 2):
        for split in ("train", "val"):
            shutil.rmtree(root / f"{split}/class{label}")


def one_split(root: Path) -> Any:
    shutil.rmtree(root / "val")
    (root / "val").symlink_to("train")


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (lambda root: empty(root / "train/class1"), [["a class folder holds no image", "train/class1", ".jpg"]]),
        (lambda root: empty(root / "val/class0", root / "val/class2"), [["2 class folders", "val/class2"]]),
        (lambda root: shutil.rmtree(root / "val"), [["dataset.test_dir=val", "images/val is not a folder"]]),
        (
            lambda root: no_classes(root / "train"),
            [["dataset.train_dir=train", "images/train holds no folder"]],
        ),
        (
            lambda root: (root / "val/class2").rename(root / "val/klass2"),
            [["same classes", "only in train: class2", "only in val: klass2"]],
        ),
        (
            two_at_once,
            [["same classes", "only in train: class1"], ["no image", "train/class0"]],
        ),
        (one_class, [["images has a single class (class0)"]]),
        (one_split, [["dataset.test_dir=val is the folder of dataset.train_dir=train"]]),
        (lambda root: shutil.rmtree(root), [["dataset.root=images is not a folder", "train/"]]),
    ],
    ids=[
        "empty class",
        "empty classes",
        "no split",
        "no classes",
        "other classes",
        "two at once",
        "one class",
        "one split",
        "no root",
    ],
)
def test_trees(image_tree: Tree, open_tree: Opener, spoil: Callable[[Path], Any], expected: list[list[str]]) -> None:
    root = image_tree()
    spoil(root)
    found = problems(lambda: open_tree(root))
    assert len(found) == len(expected)
    for problem, words in zip(found, expected, strict=True):
        assert all(word in problem for word in words), problem


def test_many_culprits_are_counted(image_tree: Tree, open_tree: Opener) -> None:
    root = image_tree(classes=7)
    for label in range(6):
        empty(root / f"train/class{label}")
    (problem,) = problems(lambda: open_tree(root))
    assert "6 class folders" in problem
    assert "class2 and 3 more" in problem


def test_a_folder_that_must_not_be_read(image_tree: Tree, open_tree: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    root, scandir = image_tree(), os.scandir
    for closed in (root / "train", root / "val/class1"):

        def guarded(path: Any, closed: Path = closed) -> Any:
            if Path(path) == closed:
                raise PermissionError(13, "Permission denied", str(path))
            return scandir(path)

        monkeypatch.setattr(os, "scandir", guarded)
        (problem,) = problems(lambda: open_tree(root))
        assert f"{closed} cannot be read (Permission denied)" in problem


def test_options_that_ask_for_too_much(image_tree: Tree, open_tree: Opener) -> None:
    root = image_tree()
    for changes, words in (
        ({"train_limit": 13}, ["dataset.train_limit=13", "12 images"]),
        ({"test_limit": 13}, ["dataset.test_limit=13", "12 images"]),
        ({"probe_images": 10}, ["10 probe images", "only 9"]),
        ({"resize": 15}, ["dataset.resize=15", "dataset.image_size=16"]),
        ({"val_split": 0.1}, ["dataset.val_split=0.1"]),
        ({"test_dir": "./train/"}, ["dataset.test_dir=./train/ is the folder of dataset.train_dir=train"]),
    ):
        (problem,) = problems(lambda changes=changes: open_tree(root, **changes))  # type: ignore[misc]
        assert all(word in problem for word in words), problem


def cut_short(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-200])


def deep(file: Path) -> None:
    Image.new("F", (20, 20)).save(file, format="TIFF")


def walk(batches: Iterator[Batch]) -> None:
    for _ in batches:
        pass


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("spoil", [cut_short, lambda file: file.write_bytes(b"nothing"), Path.unlink, deep])
def test_unreadable_images_are_named(
    image_tree: Tree, open_tree: Opener, workers: int, spoil: Callable[[Path], Any]
) -> None:
    root = image_tree()
    dataset = open_tree(root, num_workers=workers)
    for file, start in (
        (root / "train/class1/2.png", lambda: dataset.train_batches(4, seed=0).epoch(1)),
        (root / "val/class2/0.png", lambda: iter(dataset.test_batches(4))),
    ):
        spoil(file)
        (problem,) = problems(lambda start=start: walk(start()))  # type: ignore[misc]
        assert problem.startswith(str(file))


def test_an_unreadable_partner_is_named(image_tree: Tree, open_tree: Opener) -> None:
    root = image_tree()
    dataset = open_tree(root, train_limit=3)
    cut_short(root / "train/class2/0.png")
    mix = MixPlan(torch.tensor([2, 1, 1]), torch.tensor([0.5, 0.0, 0.0]))
    first = next(epoch for epoch in range(1, 50) if int(torch.cat(order(dataset, epoch))[0]) == 0)
    (problem,) = problems(lambda: next(dataset.train_batches(1, seed=0).epoch(first, mix)))
    assert problem.startswith(str(root / "train/class2/0.png"))


def order(dataset: Dataset, epoch: int) -> list[torch.Tensor]:
    """Which images an epoch would take, up to the one that cannot be read."""
    seen: list[torch.Tensor] = []
    try:
        for batch in dataset.train_batches(1, seed=0).epoch(epoch):
            seen.append(batch.index)
    except ConfigError:
        seen.append(torch.tensor([2]))
    return seen


def test_a_damaged_image_does_not_end_the_workers(image_tree: Tree, open_tree: Opener) -> None:
    root = image_tree()
    file = root / "train/class1/2.png"
    whole = file.read_bytes()
    loader = open_tree(root, num_workers=2).train_batches(4, seed=0)
    cut_short(file)
    problems(lambda: walk(loader.epoch(1)))
    file.write_bytes(whole)  # repaired
    assert sum(1 for _ in loader.epoch(1)) == 3


@pytest.mark.parametrize("train", [False, True])
def test_workers_leave_after_an_error_that_somebody_keeps(image_tree: Tree, open_tree: Opener, train: bool) -> None:
    root = image_tree()
    cut_short(root / "train/class0/0.png")
    cut_short(root / "val/class0/0.png")
    dataset = open_tree(root, num_workers=2)
    others = set(multiprocessing.active_children())
    with pytest.raises(ConfigError) as caught:
        walk(dataset.train_batches(4, seed=0).epoch(1) if train else iter(dataset.test_batches(4)))
    workers = set(multiprocessing.active_children()) - others
    kept: list[Any] = [caught.value]
    kept.append(kept)
    del caught, kept
    gc.collect()
    # They left by themselves. One that is not told to is waited for ten seconds, and then killed.
    assert all(worker.exitcode == 0 for worker in workers)
    assert len(workers) == (2 if train else 0)  # those of an evaluation are gone before


def test_a_pipe_is_no_image_whatever_its_name(image_tree: Tree, open_tree: Opener) -> None:
    root = image_tree(classes=2, images=2)
    os.mkfifo(root / "train/class0/pipe.jpg")
    (root / "train/class0/link.jpg").symlink_to("pipe.jpg")
    assert open_tree(root).num_train == 4
