"""CIFAR's files: read, checked, downloaded where there is a network, never executed."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import pickle
import tarfile
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support import Ended

from rlkd_run.data import cifar
from rlkd_run.data.archives import Archive
from rlkd_run.data.dataset import Dataset
from rlkd_run.errors import ConfigError

Opener = Callable[..., Dataset]
NAMES = [("CIFAR100", "cifar100"), ("CIFAR10", "cifar10")]


def md5(file: Path) -> str:
    return hashlib.md5(file.read_bytes(), usedforsecurity=False).hexdigest()


def publish(monkeypatch: pytest.MonkeyPatch, constant: str, folder: Path, **changes: Any) -> Archive:
    """Take the sums of the files in `folder` for the published ones."""
    archive: Archive = getattr(cifar, constant)
    sums = {kind: {name: md5(folder / name) for name in getattr(archive, kind)} for kind in ("train", "test", "meta")}
    archive = dataclasses.replace(archive, **{**sums, **changes})
    monkeypatch.setattr(cifar, constant, archive)
    return archive


def write(archive: Archive, root: Path, classes: int = 5) -> np.ndarray[Any, Any]:
    """Files like the real ones, of few images; returns the training pixels, [N, 32, 32, 3]."""
    folder = root / archive.folder
    folder.mkdir(parents=True)
    generator = np.random.default_rng(0)
    train = []
    for name in [*archive.train, *archive.test]:
        data = generator.integers(0, 256, (2 * classes, 3072), dtype=np.uint8)
        values = {"data": data, archive.label_key: [*range(classes), *range(classes)], "filenames": ["x.png"]}
        (folder / name).write_bytes(pickle.dumps(values, protocol=3))
        if name in archive.train:
            train.append(data)
    (meta,) = archive.meta
    names = {archive.names_key: [f"name{label}" for label in range(classes)]}
    (folder / meta).write_bytes(pickle.dumps(names, protocol=3))
    pixels: np.ndarray[Any, Any] = np.concatenate(train).reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    return pixels


def refusal(open_data: Opener, name: str, **changes: Any) -> str:
    """The one sentence with which a data set is refused."""
    with pytest.raises(ConfigError) as caught:
        open_data(name, **changes)
    (problem,) = caught.value.problems
    assert "\n" not in problem
    assert problem.endswith(".")
    return problem


@pytest.mark.parametrize(("constant", "name"), NAMES)
@pytest.mark.parametrize("inside", [False, True])
def test_files_are_read(
    open_data: Opener, monkeypatch: pytest.MonkeyPatch, constant: str, name: str, inside: bool
) -> None:
    archive: Archive = getattr(cifar, constant)
    pixels = write(archive, Path("root"))
    folder = Path("root", archive.folder)
    publish(monkeypatch, constant, folder)
    root = str(folder if inside else folder.parent)
    plain = {"mean": [0.0] * 3, "std": [1 / 255] * 3, "pad": 0, "flip": False, "download": False}
    dataset = open_data(name, root=root, **plain)
    assert (dataset.name, dataset.num_classes, dataset.image_shape) == (name, 5, (3, 32, 32))
    assert dataset.class_names == [f"name{label}" for label in range(5)]
    assert (dataset.num_train, dataset.num_test) == (10 * len(archive.train), 10)
    (batch,) = dataset.train_batches(100, seed=0).epoch(1)
    assert torch.equal(batch.images.permute(0, 2, 3, 1), torch.from_numpy(pixels).float()[batch.index])
    assert torch.equal(batch.target, batch.index % 5)


@pytest.mark.parametrize(("constant", "name"), NAMES)
def test_missing_files(open_data: Opener, constant: str, name: str) -> None:
    archive: Archive = getattr(cifar, constant)
    problem = refusal(open_data, name, root="nowhere", download=False)
    for word in (archive.title, "nowhere", "dataset.download is false", archive.folder, archive.url, "dataset.root"):
        assert word in problem


def test_no_network(open_data: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*arguments: Any, **options: Any) -> None:
        raise urllib.error.URLError("no route to host")

    monkeypatch.setattr(urllib.request, "urlopen", offline)
    problem = refusal(open_data, "cifar100", root="nowhere", download=True)
    for word in ("could not be downloaded (no route to host)", "cifar-100-python/", cifar.CIFAR100.url):
        assert word in problem
    assert not list(Path().iterdir())


def test_no_network_for_a_sweep(rlkd_run: Callable[..., Ended], monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def offline(url: str, **options: Any) -> None:
        asked.append(url)
        raise urllib.error.URLError("no route to host")

    monkeypatch.setattr(urllib.request, "urlopen", offline)
    ended = rlkd_run(
        "dataset=cifar10,cifar100", "dataset.root=data", "student=resnet8,resnet14", "temperature=fixed,rlkd"
    )
    assert ended.code == 2
    assert [line.split(" is not in ")[0] for line in ended.err.splitlines()] == [
        "rlkd-run: CIFAR-10",
        "rlkd-run: CIFAR-100",
    ]
    assert asked == [cifar.CIFAR10.url, cifar.CIFAR100.url], "once, and not by every job"
    assert not list(Path().iterdir())


def packed(archive: Archive) -> Path:
    """The archive's files as published; the folder itself is taken away."""
    write(archive, Path("server"))
    with tarfile.open("server/archive.tar.gz", "w:gz") as tar:
        tar.add(Path("server", archive.folder), archive.folder)
    return Path("server/archive.tar.gz").absolute()


def test_a_download_is_unpacked_as_a_whole(open_data: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    file = packed(cifar.CIFAR10)
    publish(monkeypatch, "CIFAR10", Path("server/cifar-10-batches-py"), url=file.as_uri(), md5=md5(file))
    assert open_data("cifar10", root="deep/data", download=True).num_train == 50
    assert [entry.name for entry in Path("deep/data").iterdir()] == ["cifar-10-batches-py"]
    file.unlink()
    assert open_data("cifar10", root="deep/data", download=True).num_train == 50  # what is there is not fetched


def test_a_download_goes_beside_what_else_lies_there(open_data: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    file = packed(cifar.CIFAR10)
    publish(monkeypatch, "CIFAR10", Path("server/cifar-10-batches-py"), url=file.as_uri(), md5=md5(file))
    folder = Path("data/cifar-10-batches-py")
    folder.mkdir(parents=True)
    (folder / ".DS_Store").write_text("")
    assert open_data("cifar10", root="data", download=True).num_train == 50
    file.unlink()
    assert open_data("cifar10", root="data", download=True).num_train == 50
    assert (folder / ".DS_Store").exists()


def test_a_download_that_is_not_the_published_file(open_data: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    file = packed(cifar.CIFAR100)
    monkeypatch.setattr(cifar, "CIFAR100", dataclasses.replace(cifar.CIFAR100, url=file.as_uri()))
    problem = refusal(open_data, "cifar100", root="data", download=True)
    for word in ("could not be downloaded", md5(file), cifar.CIFAR100.md5):
        assert word in problem
    assert not list(Path("data").iterdir())


def test_a_root_that_cannot_be_made(open_data: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    file = packed(cifar.CIFAR100)
    monkeypatch.setattr(cifar, "CIFAR100", dataclasses.replace(cifar.CIFAR100, url=file.as_uri()))
    Path("file").write_text("")
    problem = refusal(open_data, "cifar100", root="file/data", download=True)
    assert "could not be downloaded" in problem
    assert "file/data" in problem


@pytest.mark.parametrize("download", [False, True])
def test_damaged_files_are_named(open_data: Opener, monkeypatch: pytest.MonkeyPatch, download: bool) -> None:
    write(cifar.CIFAR100, Path("root"))
    folder = Path("root/cifar-100-python")
    publish(monkeypatch, "CIFAR100", folder)
    whole = (folder / "test").read_bytes()
    expected = md5(folder / "test")

    (folder / "test").write_bytes(whole[:-1] + b"!")
    problem = refusal(open_data, "cifar100", root="root", download=download)
    for word in (f"{folder}/test is damaged", md5(folder / "test"), expected):
        assert word in problem

    (folder / "test").write_bytes(whole[:1000])
    assert "cut short (1000 bytes" in refusal(open_data, "cifar100", root="root", download=download)

    (folder / "test").unlink()
    assert f"{folder}/test cannot be read" in refusal(open_data, "cifar100", root="root", download=download)


def test_too_many_images_are_asked_for(open_data: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    write(cifar.CIFAR100, Path("root"))
    publish(monkeypatch, "CIFAR100", Path("root/cifar-100-python"))
    for key in ("train_limit", "test_limit"):
        problem = refusal(open_data, "cifar100", root="root", **{key: 11})
        assert f"dataset.{key}=11 is more than the 10 images" in problem
    assert "6 probe images" in refusal(open_data, "cifar100", root="root", probe_images=6)


class Bomb:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("exploded",)


@pytest.mark.parametrize("trusted", [False, True], ids=["other sum", "same sum"])
def test_code_in_a_pickle_is_not_executed(open_data: Opener, monkeypatch: pytest.MonkeyPatch, trusted: bool) -> None:
    write(cifar.CIFAR100, Path("root"))
    folder = Path("root/cifar-100-python")
    if not trusted:
        publish(monkeypatch, "CIFAR100", folder)
    (folder / "train").write_bytes(pickle.dumps({"data": Bomb()}))
    if trusted:
        publish(monkeypatch, "CIFAR100", folder)
    problem = refusal(open_data, "cifar100", root="root")
    assert f"{folder}/train" in problem
    assert ("mkdir does not belong in a data file" in problem) == trusted
    assert not Path("exploded").exists()
