"""Checkpoints that survive: written whole or not at all, verified before they are trusted, old ones pruned."""

from __future__ import annotations

import io
import pickle
import re
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from rlkd_run.files import write_atomically

_NAME = re.compile(r"epoch-(\d+)-step-(\d+)\.pt")


class Checkpoints:
    """The checkpoints of one run folder, the newest `keep` of them.

    Args:
        folder: where they lie; made when the first is saved.
        keep: how many are left after a save. Two: a damaged newest one still has a predecessor.
        say: told, in one sentence, of a checkpoint that does not verify.
    """

    def __init__(self, folder: Path, *, keep: int = 2, say: Callable[[str], None] = print) -> None:
        self.folder = folder
        self.keep = keep
        self.say = say

    def save(self, state: Mapping[str, Any], *, epoch: int, step: int) -> Path:
        """Write the state after `epoch` whole epochs and `step` steps of the next one.

        Raises:
            OSError: disk full or the like; earlier checkpoints are untouched.
        """
        buffer = io.BytesIO()
        torch.save(dict(state), buffer)
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"epoch-{epoch:05d}-step-{step:07d}.pt"
        write_atomically(path, buffer.getbuffer())
        for old in self._files()[self.keep :]:
            old.unlink(missing_ok=True)
        return path

    def load(self) -> dict[str, Any] | None:
        """The newest state that verifies; None where there is none."""
        for leftover in self.folder.glob(".*.tmp"):  # of a process that was killed while it wrote
            leftover.unlink(missing_ok=True)
        for path in self._files():
            try:
                return _verified(path)
            except _DAMAGE as error:
                reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
                self.say(f"{path} does not verify ({reason}); going back to the checkpoint before it.")
        return None

    def remove(self) -> None:
        """Delete them all: the run is finished."""
        for path in self._files():
            path.unlink(missing_ok=True)
        if self.folder.is_dir() and not any(self.folder.iterdir()):
            self.folder.rmdir()

    def _files(self) -> list[Path]:
        found = [path for path in self.folder.glob("*.pt") if _NAME.fullmatch(path.name)]
        return sorted(found, reverse=True)


_DAMAGE = (OSError, zipfile.BadZipFile, RuntimeError, EOFError, KeyError, ValueError, pickle.UnpicklingError)


def _verified(path: Path) -> dict[str, Any]:
    """A checkpoint's content; its archive carries a CRC-32 of every part, which torch itself does not check."""
    with zipfile.ZipFile(path) as archive:
        damaged = archive.testzip()
    if damaged is not None:
        raise zipfile.BadZipFile(f"{damaged} fails its check sum")
    state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    return state
