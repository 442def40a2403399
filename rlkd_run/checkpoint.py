"""Checkpoints that survive: written whole or not at all, verified before they are trusted, old ones pruned.

One that does not verify gets the suffix `BAD`: it counts no more, but is kept until the run is finished, as it may be
good elsewhere (another torch).
"""

from __future__ import annotations

import io
import os
import pickle
import re
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from rlkd_run.errors import in_a_line
from rlkd_run.files import leftovers, write_atomically

_NAME = re.compile(r"epoch-(\d+)-step-(\d+)\.pt")
BAD = ".bad"
KEPT = 2  # a damaged newest one still has a predecessor


class Checkpoints:
    """The checkpoints of one run folder, the newest `KEPT` of them.

    Args:
        folder: where they lie; made when the first is saved.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def save(self, state: Mapping[str, Any], *, epoch: int, step: int) -> Path:
        """Write the state after `epoch` whole epochs and `step` steps of the next one.

        Raises:
            OSError: disk full or the like, or no folder to make ours in; earlier checkpoints are untouched.
        """
        buffer = io.BytesIO()
        torch.save(dict(state), buffer)
        self.folder.mkdir(exist_ok=True)  # and no run folder anew, where somebody has moved it
        path = self.folder / f"epoch-{epoch:05d}-step-{step:07d}.pt"
        write_atomically(path, buffer.getbuffer())
        others = [other for other in self._files() if other != path]  # the one just written stays, whatever its number
        for old in others[KEPT - 1 :]:
            old.unlink(missing_ok=True)
        return path

    def load(self) -> dict[str, Any] | None:
        """The newest state that verifies; None if there is none. One that does not is named and moved out of the way.

        Raises:
            OSError: the disk could not be read, which says nothing about what is on it.
        """
        for leftover in leftovers(self.folder):
            leftover.unlink(missing_ok=True)
        files = self._files()
        for path in files:
            content = path.read_bytes()
            try:
                return _verified(content)
            except _DAMAGE as error:
                os.replace(path, path.with_name(path.name + BAD))
                way = "starting anew, as there is none" if path == files[-1] else "going back to the checkpoint"
                print(
                    f"{path} does not verify ({in_a_line(error)}) and is now called {path.name}{BAD}; {way} before it."
                )
        return None

    def remove(self) -> None:
        """Delete them all: the run is finished."""
        for path in [*self._files(), *self._files(BAD)]:
            path.unlink(missing_ok=True)
        if self.folder.is_dir() and not any(self.folder.iterdir()):
            self.folder.rmdir()

    def _files(self, suffix: str = "") -> list[Path]:
        """The newest first. A folder that cannot be read is an error: `Path.glob` would call it empty."""
        try:
            names = os.listdir(self.folder)
        except FileNotFoundError:
            return []
        found = [name for name in names if name.endswith(suffix) and _NAME.fullmatch(name.removesuffix(suffix))]
        return [self.folder / name for name in sorted(found, reverse=True)]


# What a damaged archive brings up. OSError too: the content is in memory, so that no disk is meant.
_DAMAGE = (
    OSError,
    zipfile.BadZipFile,
    zlib.error,
    RuntimeError,
    EOFError,
    KeyError,
    ValueError,
    pickle.UnpicklingError,
)


def _verified(content: bytes) -> dict[str, Any]:
    """A checkpoint's state; its archive carries a CRC-32 of every part, which torch itself does not check."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        damaged = archive.testzip()
    if damaged is not None:
        raise zipfile.BadZipFile(f"{damaged} fails its check sum")
    state: dict[str, Any] = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    return state
