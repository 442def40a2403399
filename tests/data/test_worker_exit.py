"""Workers do not keep the process from ending, and what ends them is told in a sentence."""

from __future__ import annotations

import errno
import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image
from torch import Tensor

from rlkd_run.data import folder
from rlkd_run.data.folder import FolderDataset, FolderTrainLoader
from rlkd_run.errors import ConfigError, RunError

LEAVE_IN_MID_EPOCH = """
import torch
from rlkd_run.config.composition import compose_command
from rlkd_run.experiment import open_data
arguments = ["dataset=folder", "dataset.root=images", "dataset.image_size=8", "runtime.num_workers=2"]
(config,) = compose_command(arguments).runs
dataset = open_data(config, torch.device("cpu"))
loader = dataset.train_batches(2, 0)
whole = sum(1 for _ in loader.epoch(1))
begun = loader.epoch(2)
next(begun)
print(whole)
"""


def test_the_process_ends() -> None:
    for split in ("train", "val"):
        for label in ("a", "b"):
            folder = Path("images", split, label)
            folder.mkdir(parents=True)
            for number in range(4):
                Image.new("RGB", (12, 10), (number, 0, 0)).save(folder / f"{number}.png")
    done = subprocess.run(
        [sys.executable, "-c", LEAVE_IN_MID_EPOCH], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "4\n", "")


@pytest.fixture
def loader(image_tree: Callable[..., Path], open_tree: Callable[..., FolderDataset]) -> FolderTrainLoader:
    return open_tree(image_tree(classes=2, images=6), num_workers=2, image_size=8).train_batches(2, seed=0)


@pytest.mark.parametrize("taken", [1, 6])  # batches before; a worker may be missed at the start of an epoch as well
def test_a_worker_that_was_killed_is_one_sentence(loader: FolderTrainLoader, taken: int) -> None:
    answered = signal.getsignal(signal.SIGCHLD)
    batches = loader.epoch(1)
    for _ in range(taken):
        next(batches)
    assert signal.getsignal(signal.SIGCHLD) == answered  # else torch would raise wherever this process is just then
    for worker in multiprocessing.active_children():
        os.kill(worker.pid or 0, signal.SIGKILL)
    with pytest.raises(RunError, match=r"^A process that decodes images was killed; if nobody did that,"):
        list(batches) + list(loader.epoch(2))


def test_shared_memory_that_is_full_is_one_sentence(loader: FolderTrainLoader, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Tensor) -> Tensor:
        raise RuntimeError("unable to allocate shared memory(shm) for file </torch_1>: No space left on device (28)")

    monkeypatch.setattr(Tensor, "share_memory_", full)  # workers are forked with it
    with pytest.raises(RunError, match=r"does not fit into shared memory .*No space left on device.*: enlarge"):
        next(loader.epoch(1))


def test_an_image_that_must_not_be_read_is_not_called_damaged(
    loader: FolderTrainLoader, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(file: str) -> Image.Image:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), file)

    monkeypatch.setattr(Image, "open", refused)
    with pytest.raises(ConfigError, match=r"\.png must not be read: Permission denied\.$"):
        next(loader.epoch(1))


def test_what_is_wrong_in_this_process_is_no_workers_death(
    loader: FolderTrainLoader, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*arguments: object) -> list[object]:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    next(loader.epoch(1))
    monkeypatch.setattr(folder, "_train_requests", broken)
    with pytest.raises(RuntimeError, match="illegal memory access"):
        next(loader.epoch(2))
