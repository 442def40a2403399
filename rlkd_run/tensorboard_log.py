"""TensorBoard as a further place for the rows of ``metrics.csv``."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from torch import Tensor
from torch.utils.tensorboard import SummaryWriter


class TensorboardLog:
    """The events of one run, to be closed.

    They are expendable: where they cannot be written (somebody has removed the folder, the disk is full), that is said
    once, and they are dropped from there on.

    Args:
        folder: of the run.
        epoch: the first that will be logged; what an earlier sitting logged of it or later ones is hidden.
    """

    def __init__(self, folder: Path, epoch: int) -> None:
        self._folder = folder / "tensorboard"
        self._writer: SummaryWriter | None = None
        with self._expendable():
            self._writer = SummaryWriter(str(self._folder), purge_step=epoch)

    def log(self, row: Mapping[str, Any], temperatures: Tensor) -> None:
        """Write one epoch's row and its instances' temperatures, if there are any; what is not finite is left out."""
        if self._writer is None:
            return
        with self._expendable():
            os.stat(self._folder)  # the writer's own thread would find out with a traceback
            for name, value in row.items():
                if name != "epoch" and math.isfinite(value):
                    group, _, rest = name.partition("_")
                    self._writer.add_scalar(f"{group}/{rest or group}", value, row["epoch"])
            if len(temperatures):
                self._writer.add_histogram("t/histogram", temperatures, row["epoch"])
            self._writer.flush()

    def close(self) -> None:
        """Let go of the file; every epoch is in it."""
        if self._writer is not None:
            with suppress(OSError):
                self._writer.close()

    @contextmanager
    def _expendable(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self._writer = None
            print(f"warning   no events for TensorBoard from here on: {self._folder}: {error.strerror}", flush=True)
