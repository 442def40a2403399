"""Every mistake of a user's: one clear sentence, exit code 2, nothing written."""

from __future__ import annotations

import errno
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from pictures import FOLDER, image_tree
from support import TINY, Ended

from rlkd_run.config.composition import compose_command
from rlkd_run.config.identity import run_folder, teacher_folder
from rlkd_run.data.published import fetch_missing
from rlkd_run.missing_files import missing_files
from rlkd_run.models import weights
from rlkd_run.models.build import build_model


def everything() -> set[Path]:
    """All that lies here, hidden or not."""
    return set(Path().rglob("*"))


def assert_refused(ended: Ended, before: set[Path], *words: str) -> None:
    assert ended.code == 2, ended.err
    lines = ended.err.strip().splitlines()
    assert len(lines) == 1, ended.err
    assert lines[0].startswith("rlkd-run: ")
    for word in words:
        assert word in lines[0]
    assert everything() == before


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["teacher=resnet57"], ["teacher=resnet57", "did you mean resnet56?"]),
        (["recipe.epoch=3"], ["recipe.epoch", "did you mean recipe.epochs?"]),
        (["recipe.batch_size=big"], ["recipe.batch_size", "'big'"]),
        (["recipe.epochs=0"], ["recipe.epochs", "at least 1"]),
        (["agent.t_min=5", "agent.t_max=2"], ["agent.t_min=5.0", "agent.t_max=2.0"]),
        (["recipe.lr=-0.1"], ["recipe.lr", "greater than 0"]),
        (["dataset=cifar100", "dataset.root=empty", "dataset.download=false"], ["cifar-100-python", "dataset.root"]),
        (["dataset.train_limit=100000"], ["dataset.train_limit=100000", "1442 images"]),
        (["teacher.checkpoint=missing.pth"], ["missing.pth"]),
        (["recipe.batch_size=500"], ["temperature=rlkd", "two steps an epoch", "recipe.batch_size=500"]),
        (["student=vgg8", "recipe.batch_size=199"], ["recipe.batch_size=199", "student=vgg8"]),
        (["teacher=vgg8", "recipe.batch_size=199"], ["recipe.batch_size=199", "teacher=vgg8"]),
        (["teacher=timm", "teacher.model=resnet10z"], ["teacher.model", "resnet10t"]),
        (["task=train_teacher", "teacher.checkpoint=x"], ["task=train_teacher", "teacher.checkpoint"]),
    ],
)
def test_values(rlkd_run: Callable[..., Ended], arguments: list[str], words: list[str]) -> None:
    assert_refused(rlkd_run(*TINY, *arguments), set(), *words)


@pytest.mark.parametrize("words", [["--epochs", "3"], ["--epochs=3"], ["teacher=resnet14", "-e", "3"]])
def test_a_flag_that_there_is_not(rlkd_run: Callable[..., Ended], words: list[str]) -> None:
    flag = next(word for word in words if word.startswith("-"))
    assert_refused(rlkd_run(*words), set(), f"{flag} is not a flag; options are set without dashes, KEY=VALUE, ")


@pytest.mark.parametrize("task", ["evaluate", "export", "evaluate,export"])
def test_a_run_that_is_not_there(rlkd_run: Callable[..., Ended], task: str) -> None:
    assert_refused(rlkd_run(f"task={task}", "run=nowhere"), set(), "run=nowhere", "result.json")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["teacher.checkpoint=a.pth,b.pth"], ["a.pth does not exist", "b.pth does not exist"]),
        (["teacher.checkpoint=."], ["teacher.checkpoint: . is not a file"]),
        (
            ["teacher.objective=nasty", "teacher.nasty.adversary=a.pth"],
            ["teacher.nasty.adversary: a.pth does not exist"],
        ),
        (["dataset=folder", "dataset.root=nowhere"], ["dataset.root=nowhere is not a folder"]),
        (["dataset=folder", "dataset.root=."], ["dataset.train_dir=train", "dataset.test_dir=val"]),
        (["dataset=cifar10,cifar100", "dataset.root=.", "dataset.download=false"], ["CIFAR-10 is", "CIFAR-100 is"]),
    ],
)
def test_files_that_every_job_of_a_sweep_would_miss(
    rlkd_run: Callable[..., Ended], arguments: list[str], words: list[str]
) -> None:
    ended = rlkd_run(*TINY, *arguments, "temperature=fixed,rlkd", "seed=0,1")
    assert ended.code == 2
    assert ended.out == ""
    lines = ended.err.strip().splitlines()
    assert len(lines) == len(words), ended.err
    for line, word in zip(lines, words, strict=True):
        assert word in line
    assert everything() == set()


@pytest.mark.parametrize("seeds", ["seed=0", "seed=0,1"])
@pytest.mark.parametrize(("text", "words"), [("", "is not valid JSON"), ("{}", "the key schema is missing")])
def test_a_finished_run_whose_result_is_damaged(
    rlkd_run: Callable[..., Ended], seeds: str, text: str, words: str
) -> None:
    folder = run_folder(compose_command([*TINY, "seed=0"]).runs[0])
    folder.mkdir(parents=True)
    (folder / "result.json").write_text(text)
    before = everything()
    ended = rlkd_run(*TINY, seeds)
    assert_refused(ended, before, f"{folder}/result.json cannot be used, as ", words, f"; remove {folder} to run it")
    assert ended.out == ""


@pytest.mark.parametrize("content", [None, b"", b"damaged"])
def test_a_trained_teacher_whose_weights_are_lost(rlkd_run: Callable[..., Ended], content: bytes | None) -> None:
    folder = teacher_folder(compose_command(TINY).runs[0])
    folder.mkdir(parents=True)
    (folder / "result.json").write_text("{}")
    if content is not None:
        (folder / "teacher.safetensors").write_bytes(content)
    before = everything()
    words = [f"teacher: {folder}/teacher.safetensors", f"; remove {folder} to have this teacher trained anew."]
    assert_refused(rlkd_run(*TINY), before, *words)


def test_a_trained_teacher_that_only_others_may_read(
    rlkd_run: Callable[..., Ended], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is wrong with it: nobody is told to remove it."""
    folder = teacher_folder(compose_command(TINY).runs[0])
    folder.mkdir(parents=True)
    (folder / "result.json").write_text("{}")
    (folder / "teacher.safetensors").write_bytes(b"whole")

    def refused(file: Path) -> bool:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(file))

    monkeypatch.setattr(weights, "_is_safetensors", refused)  # a mode would not keep a root user out
    ended = rlkd_run(*TINY)
    assert ended.code == 2
    assert ended.err == f"rlkd-run: teacher: {folder}/teacher.safetensors cannot be read (Permission denied)\n"


def test_a_missing_file_is_said_before_the_run_is_announced(rlkd_run: Callable[..., Ended]) -> None:
    for task in ("distill", "train_teacher"):
        ended = rlkd_run(*FOLDER, f"task={task}")
        assert_refused(ended, set(), "dataset.root=images is not a folder")
        assert ended.out == ""


def test_images_may_lie_where_the_jobs_run() -> None:
    runs = compose_command([*TINY, "dataset=folder", "dataset.root=nowhere", "teacher.checkpoint=a.pth"]).runs
    assert missing_files(runs, elsewhere=True) == ["teacher.checkpoint: a.pth does not exist"]


def test_images_of_ones_own_are_not_fetched() -> None:
    """Their options may be any: these have not even a root."""
    fetch_missing([SimpleNamespace(name="own")])


def test_an_output_folder_that_cannot_be_written(rlkd_run: Callable[..., Ended]) -> None:
    Path("file").write_text("")
    before = everything()
    assert_refused(rlkd_run(*TINY, "output_root=file/out"), before, "file/out", "cannot be written")


@pytest.mark.parametrize("key", ["series", "output_root"])
@pytest.mark.parametrize("seeds", ["seed=0", "seed=0,1"])
def test_a_folder_that_cannot_be_looked_into(rlkd_run: Callable[..., Ended], key: str, seeds: str) -> None:
    """By its name, which keeps the superuser out as well; that of another user is met in the same way."""
    Path("outputs").mkdir()
    before = everything()
    assert_refused(rlkd_run(*TINY, f"{key}={'a' * 300}", seeds), before, "cannot be written: File name too long.")


def test_a_run_that_cannot_be_looked_into(rlkd_run: Callable[..., Ended]) -> None:
    name = "a" * 300
    assert_refused(rlkd_run("task=evaluate", f"run={name}"), set(), f"run={name} cannot be read: File name too long.")


@pytest.mark.parametrize("mode", ["lazy", "full"])
def test_a_cache_that_cannot_be_written_costs_no_teacher(rlkd_run: Callable[..., Ended], mode: str) -> None:
    Path("file").write_text("")
    before = everything()
    ended = rlkd_run(*TINY, f"runtime.teacher_cache={mode}", "runtime.cache_root=file/cache")
    assert_refused(ended, before, "runtime.cache_root=file/cache cannot be written: Not a directory.")
    assert "training it first" not in ended.out


def test_a_gpu_that_is_not_there(rlkd_run: Callable[..., Ended]) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is one")
    assert_refused(rlkd_run(*TINY, "runtime.device=cuda"), set(), "runtime.device=cuda", "no GPU")


def save_network(name: str, classes: int) -> None:
    torch.save({"model": build_model("zoo", name, classes).state_dict()}, "t.pth")


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (
            lambda: save_network("resnet20", 10),
            ["t.pth", "resnet20"],
        ),
        (
            lambda: save_network("resnet14", 7),
            ["t.pth", "7 classes"],
        ),
        (lambda: Path("t.pth").write_bytes(b"nonsense"), ["t.pth"]),
        (lambda: torch.save({"a": 1}, "t.pth"), ["t.pth"]),
    ],
    ids=["architecture", "classes", "nonsense", "no weights"],
)
def test_teacher_checkpoints(rlkd_run: Callable[..., Ended], make: Callable[[], Any], words: list[str]) -> None:
    make()
    before = everything()
    assert_refused(rlkd_run(*TINY, "teacher.checkpoint=t.pth"), before, *words)


class Bomb:
    def __reduce__(self) -> tuple[Any, ...]:
        return Path.mkdir, (Path("exploded"),)


@pytest.mark.parametrize("save", [torch.save, lambda value, name: Path(name).write_bytes(pickle.dumps(value))])
def test_a_pickle_that_would_execute_code(rlkd_run: Callable[..., Ended], save: Callable[[Any, str], Any]) -> None:
    save({"model": Bomb()}, "t.pth")
    before = everything()
    assert_refused(rlkd_run(*TINY, "teacher.checkpoint=t.pth"), before, "t.pth")


def test_a_truncated_teacher(rlkd_run: Callable[..., Ended]) -> None:
    save_network("resnet14", 10)
    Path("t.pth").write_bytes(Path("t.pth").read_bytes()[:20000])
    before = everything()
    assert_refused(rlkd_run(*TINY, "teacher.checkpoint=t.pth"), before, "t.pth")


def test_truncated_data(rlkd_run: Callable[..., Ended], real_data: Path) -> None:
    shutil.copytree(real_data / "cifar-100-python", "cifar-100-python")
    with open("cifar-100-python/test", "r+b") as file:
        file.truncate(1000)
    before = everything()
    arguments = [*TINY, "dataset=cifar100", "dataset.root=.", "dataset.download=false"]
    assert_refused(rlkd_run(*arguments), before, "cifar-100-python/test")


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda root: [path.unlink() for path in (root / "train/class1").iterdir()], ["train/class1"]),
        (lambda root: shutil.rmtree(root / "val"), ["images/val"]),
        (lambda root: (root / "val/class2").rename(root / "val/other"), ["class2"]),
        (lambda root: (root / "train/class2/3.png").write_bytes(b"not an image"), ["train/class2/3.png"]),
        (lambda root: (root / "val/class0/1.png").write_bytes(b""), ["val/class0/1.png"]),
    ],
    ids=["empty class", "no split", "other classes", "corrupt image", "corrupt test image"],
)
def test_folders_of_images(rlkd_run: Callable[..., Ended], spoil: Callable[[Path], Any], words: list[str]) -> None:
    spoil(image_tree(Path("images")))
    before = everything()
    assert_refused(rlkd_run(*FOLDER), before, *words)


def test_a_whole_folder_of_images_is_accepted(rlkd_run: Callable[..., Ended]) -> None:
    image_tree(Path("images"))
    ended = rlkd_run(*FOLDER)
    assert ended.code == 0, ended.err
