"""Checkpoints: whole or not at all, verified, pruned."""

from __future__ import annotations

import errno
import os
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch

from rlkd_run.checkpoint import Checkpoints
from rlkd_run.files import write_atomically


def state(value: float) -> dict[str, Any]:
    return {"weights": torch.full((100,), float(value)), "epoch": 3, "history": {"rows": [{"a": 1.0}]}, "none": None}


def test_save_and_load() -> None:
    store = Checkpoints(Path("c"))
    assert store.load() is None
    store.save(state(1), epoch=1, step=0)
    found = store.load()
    assert found is not None
    assert torch.equal(found["weights"], torch.ones(100))
    assert found["history"] == {"rows": [{"a": 1.0}]}


def test_old_ones_are_pruned_in_order_of_epoch_and_step() -> None:
    store = Checkpoints(Path("c"))
    for epoch, step in [(9, 0), (9, 100), (10, 0), (10, 7)]:
        store.save(state(epoch + step), epoch=epoch, step=step)
    assert sorted(path.name for path in Path("c").iterdir()) == [
        "epoch-00010-step-0000000.pt",
        "epoch-00010-step-0000007.pt",
    ]
    store.remove()
    assert not Path("c").exists()


@pytest.mark.parametrize("damage", ["truncate", "empty", "flip", "garbage"])
def test_a_damaged_one_is_named_and_passed_over(damage: str, capsys: pytest.CaptureFixture[str]) -> None:
    store = Checkpoints(Path("c"))
    store.save(state(1), epoch=1, step=0)
    path = store.save(state(2), epoch=2, step=0)
    content = bytearray(path.read_bytes())
    if damage == "truncate":
        content = content[: len(content) // 2]
    elif damage == "empty":
        content = bytearray()
    elif damage == "flip":
        content[content.index(b"\x00\x00\x00\x40" * 4)] ^= 0xFF  # inside the weights: float32 2.0
    else:
        content = bytearray(os.urandom(500))
    path.write_bytes(content)
    found = store.load()
    assert found is not None
    assert torch.equal(found["weights"], torch.ones(100))
    (sentence,) = capsys.readouterr().out.splitlines()
    assert sentence.startswith(f"{path} does not verify (")
    assert sentence.endswith(f") and is now called {path.name}.bad; going back to the checkpoint before it.")


def test_a_new_start_is_not_pruned_for_what_was_damaged(capsys: pytest.CaptureFixture[str]) -> None:
    """Neither verifies: the epochs count from one again, below what lies there."""
    store = Checkpoints(Path("c"))
    for epoch in (4, 5):
        path = store.save(state(epoch), epoch=epoch, step=0)
        path.write_bytes(path.read_bytes()[:-200])
    assert store.load() is None
    said = capsys.readouterr().out
    assert said.endswith("epoch-00004-step-0000000.pt.bad; starting anew, as there is none before it.\n")
    for epoch in (1, 2, 3):
        assert store.save(state(epoch), epoch=epoch, step=0).exists()
    found = store.load()
    assert found is not None
    assert torch.equal(found["weights"], torch.full((100,), 3.0))
    assert sorted(path.name for path in Path("c").iterdir()) == [
        "epoch-00002-step-0000000.pt",
        "epoch-00003-step-0000000.pt",
        "epoch-00004-step-0000000.pt.bad",
        "epoch-00005-step-0000000.pt.bad",
    ]
    store.remove()
    assert not Path("c").exists()


def test_what_was_just_written_is_never_pruned() -> None:
    store = Checkpoints(Path("c"))
    for epoch in (4, 5, 1):
        path = store.save(state(epoch), epoch=epoch, step=0)
    assert path.exists()
    assert len(list(Path("c").iterdir())) == 2


@pytest.mark.parametrize("what", ["file", "folder"])
def test_a_disk_that_cannot_be_read_is_no_damage(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Checkpoints(Path("c"))
    path = store.save(state(1), epoch=1, step=0)

    def stale(name: Path) -> Any:
        raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))

    with monkeypatch.context() as broken:
        if what == "file":
            broken.setattr(Path, "read_bytes", stale)
        else:
            broken.setattr(os, "listdir", stale)
        with pytest.raises(OSError, match="Stale file handle"):
            store.load()
    assert path.exists()
    assert store.load() is not None


class Bomb:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("exploded",)


def test_nothing_in_a_checkpoint_is_executed() -> None:
    store = Checkpoints(Path("c"))
    Path("c").mkdir()
    torch.save({"a": Bomb()}, "c/epoch-00001-step-0000000.pt")
    with pytest.raises(pickle.UnpicklingError, match="mkdir"):
        torch.load("c/epoch-00001-step-0000000.pt", weights_only=True)
    assert store.load() is None
    assert not Path("exploded").exists()


def test_leftovers_of_a_killed_process_are_removed() -> None:
    store = Checkpoints(Path("c"))
    store.save(state(1), epoch=1, step=0)
    Path("c/.epoch-00002-step-0000000.pt.1234.tmp").write_bytes(b"half")
    assert store.load() is not None
    assert [path.name for path in Path("c").iterdir()] == ["epoch-00001-step-0000000.pt"]


def test_a_full_disk_leaves_the_previous_one_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    store = Checkpoints(Path("c"))
    store.save(state(1), epoch=1, step=0)

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        store.save(state(2), epoch=2, step=0)
    assert [path.name for path in Path("c").iterdir()] == ["epoch-00001-step-0000000.pt"]
    found = store.load()
    assert found is not None
    assert torch.equal(found["weights"], torch.ones(100))


def test_atomic_writing_replaces_whole_files(monkeypatch: pytest.MonkeyPatch) -> None:
    path = Path("file")
    write_atomically(path, b"old")
    monkeypatch.setattr(os, "replace", lambda *names: (_ for _ in ()).throw(OSError(errno.EIO, "broken")))
    with pytest.raises(OSError, match="broken"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert [found.name for found in Path().iterdir()] == ["file"]


def test_a_disk_that_refuses_the_clean_up_does_not_hide_what_happened(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(number: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", lambda file: refuse(errno.ENOSPC))
    monkeypatch.setattr(Path, "unlink", lambda path, missing_ok=False: refuse(errno.EROFS))
    with pytest.raises(OSError, match="No space left") as caught:
        write_atomically(Path("file"), b"new")
    assert caught.value.errno == errno.ENOSPC


def test_two_containers_with_equal_process_numbers_do_not_meet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both are done writing before either renames."""
    monkeypatch.setattr(os, "getpid", lambda: 7)
    both, replace = threading.Barrier(2), os.replace

    def meet_and_replace(*names: Path) -> None:
        both.wait(60)
        replace(*names)

    monkeypatch.setattr(os, "replace", meet_and_replace)
    with ThreadPoolExecutor(2) as pool:
        for ended in [pool.submit(write_atomically, Path("file"), content) for content in (b"one", b"two")]:
            ended.result()
    assert Path("file").read_bytes() in (b"one", b"two")
    assert [found.name for found in Path().iterdir()] == ["file"]
