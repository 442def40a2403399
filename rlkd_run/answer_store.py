"""A teacher's answers on disk: one row for every view of every training image, shared by all runs with that teacher."""

from __future__ import annotations

import hashlib
import json
import mmap
import os
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from torch import Tensor, nn

from rlkd_run.errors import RunError
from rlkd_run.files import DISK_FULL, sync_folder
from rlkd_run.locks import lock_when_free, try_lock

PRECISIONS = {"fp32": torch.float32, "fp16": torch.float16}


def weights_hash(model: nn.Module) -> str:
    """SHA-256 of a network's parameters and buffers, with their names.

    Also of buffers that no state dict contains, as the normalisation of `Renormalised` is one.
    """
    digest = hashlib.sha256()
    for name, value in {**model.state_dict(), **dict(model.named_buffers())}.items():
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()


class AnswerStore:
    """Rows of tensors in memory-mapped files, and which of them are known.

    Any number of processes may read; the one that holds the lock writes. A row counts as known on disk only after its
    values are there, so that neither a kill nor a power cut leaves a row that looks known and is not. Where a file of
    values is missing or was cut short, no row is known any more. A store in which every row is known is opened for
    reading alone, as it may be another user's.

    Args:
        folder: where the files are; made if need be.
        rows: number of rows.
        widths: width of each tensor by name, e.g. ``{"logits": 100}``.
        precision: "fp32", or "fp16": every value rounded to 11 bits, a relative error of at most 2^-11.
        facts: what the rows are of, written beside them for the person who looks.

    Raises:
        RunError: there is no room for the files. All of it is taken at once, as a disk that fills up under a mapped
            file would end the process without a word.
        OSError: they cannot be made for another reason.
    """

    def __init__(
        self, folder: Path, rows: int, widths: Mapping[str, int], precision: str, facts: Mapping[str, Any]
    ) -> None:
        self.folder = folder
        self.rows = rows
        self._dtype = PRECISIONS[precision]
        self._lock: IO[str] | None = None
        self._maps: dict[str, mmap.mmap] = {}
        size = self._dtype.itemsize
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._take_room({"known": rows, **{name: rows * width * size for name, width in widths.items()}})
            self._known = torch.from_numpy(np.fromfile(folder / "known.bin", np.uint8, rows)).bool()
            self._mask = self._map("known", rows)
            self._values = {
                name: self._map(name, rows * width * size).view(self._dtype).view(rows, width)
                for name, width in widths.items()
            }
            if not self.complete():
                (folder / "about.json").write_text(json.dumps(dict(facts), indent=1))
        except OSError as error:
            if error.errno not in DISK_FULL:
                raise
            need = rows * (sum(widths.values()) * size + 1) / 1e9
            raise RunError(
                f"The teacher's answers need {need:.1f} GB in {folder}, and that failed: {error.strerror}. "
                "runtime.teacher_cache=none does without, runtime.teacher_cache_precision=fp16 takes half."
            ) from error
        self._advise("MADV_RANDOM")

    def _take_room(self, sizes: Mapping[str, int]) -> None:
        """Bring the files to their size, in bytes by name; one process does, and others wait for it.

        On a file system without fallocate (NFS), the C library writes a zero into every block that it has just read as
        empty. Only under the lock is that sure not to take a row away from a process that fills the store.
        """
        if not self._too_small(sizes):
            return
        told = False
        with open(self.folder / ".lock", "a") as lock:
            while self._too_small(sizes):
                if try_lock(lock):
                    if set(self._too_small(sizes)) - {"known"}:
                        self._forget()
                    for name in self._too_small(sizes):  # the process that held the lock may have seen to some
                        _reserve(self.folder / f"{name}.bin", sizes[name])
                elif not told:
                    print(f"waiting for another process to make {self.folder}", flush=True)
                    told = True
                else:
                    time.sleep(0.5)

    def _forget(self) -> None:
        """No row is known any more, also after a power cut: files of values are about to be filled with zeros.

        Not written over: who reads at this moment goes on with the files that it has mapped, and this one fits them.
        """
        (self.folder / "known.bin").unlink(missing_ok=True)
        sync_folder(self.folder)

    def _too_small(self, sizes: Mapping[str, int]) -> list[str]:
        paths = {name: self.folder / f"{name}.bin" for name in sizes}
        return [name for name, path in paths.items() if not path.exists() or path.stat().st_size < sizes[name]]

    def _map(self, name: str, size: int) -> Tensor:
        mode, access = ("rb", mmap.ACCESS_READ) if self.complete() else ("r+b", mmap.ACCESS_WRITE)
        with open(self.folder / f"{name}.bin", mode) as file:
            self._maps[name] = mmap.mmap(file.fileno(), size, access=access)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "The given NumPy array is not writable")  # nobody writes to it
            return torch.from_numpy(np.frombuffer(self._maps[name], np.uint8))

    def _advise(self, advice: str) -> None:
        """Tell the system how the values will be read. Left alone, it reads 128 KiB around every row."""
        if hasattr(mmap, advice):
            for name in self._values:
                self._maps[name].madvise(getattr(mmap, advice))

    def lock(self, *, wait: bool) -> bool:
        """Become the one that writes; False if another process is and `wait` is not given."""
        assert not self.complete(), "there is nothing left to write"
        lock = open(self.folder / ".lock", "a")  # noqa: SIM115 - held until `unlock`
        if not try_lock(lock):
            if not wait:
                lock.close()
                return False
            print(f"waiting for another process to fill {self.folder}", flush=True)
            lock_when_free(lock)
        self._lock = lock
        self.refresh()
        return True

    def unlock(self) -> None:
        """Let another process write."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def refresh(self) -> None:
        """Take note of the rows that another process has written."""
        self._known |= self._mask.bool()

    def known(self, keys: Tensor) -> Tensor:
        """Which rows are known, [K] bool on the CPU, for keys [K] int64 on the CPU."""
        return self._known[keys]

    def complete(self) -> bool:
        """Whether every row is known."""
        return bool(self._known.all())

    def read(self, keys: Tensor) -> dict[str, Tensor]:
        """Rows [K, D] by name, float32 on the CPU, for keys [K] int64 on the CPU."""
        return {name: values[keys].float() for name, values in self._values.items()}

    def on_device(self, device: torch.device) -> dict[str, Tensor]:
        """All rows, copied to a device in the precision that they are kept in."""
        self._advise("MADV_SEQUENTIAL")
        copies = {name: values.to(device) for name, values in self._values.items()}
        self._advise("MADV_RANDOM")
        return copies

    def bytes(self) -> int:
        """Size of the values."""
        return sum(values.numel() * values.element_size() for values in self._values.values())

    def write(self, keys: Tensor, answers: Mapping[str, Tensor]) -> None:
        """Note rows; on disk they are known after `flush`. Rows that the precision cannot hold are left out.

        Args:
            keys: [K] int64 on the CPU.
            answers: [K, D] by name, on the CPU.
        """
        assert self._lock is not None, "only the process that holds the lock writes"
        kept, fits = self._kept(answers)
        for name, value in kept.items():
            self._values[name][keys[fits]] = value[fits]
        self._known[keys[fits]] = True

    def as_read_back(self, answers: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Answers as `read` will give them: whoever computes a row and who finds it have the same numbers.

        Args:
            answers: [K, D] float32 by name; rows that the precision cannot hold stay as they are.
        """
        if self._dtype == torch.float32:
            return dict(answers)
        kept, fits = self._kept(answers)
        return {name: torch.where(fits[:, None], kept[name].float(), value) for name, value in answers.items()}

    def _kept(self, answers: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], Tensor]:
        """Answers in the precision that they are kept in, and which of the rows it can hold, [K] bool."""
        kept = {name: value.to(self._dtype) for name, value in answers.items()}
        return kept, torch.stack([value.isfinite().all(1) for value in kept.values()]).all(0)

    def flush(self) -> None:
        """Bring what was noted to disk: first the values, then that they are known."""
        for name in self._values:
            _sync(self.folder / f"{name}.bin")
        self._mask[:] = self._known
        _sync(self.folder / "known.bin")


def _reserve(path: Path, size: int) -> None:
    """Take a file's room on the disk. A system without such a call gives it the size, and room as it is written."""
    number = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)  # the C library's stand-in refuses a file that is appended to
    try:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(number, 0, size)
        else:
            os.ftruncate(number, size)
    finally:
        os.close(number)


def _sync(path: Path) -> None:
    with open(path, "r+b") as file:
        os.fsync(file.fileno())
