"""The command in a process of its own that need not import torch: it is forked off one that has.

A start takes a tenth of what `python -m rlkd_run` takes, and what happens from there on is the same.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path

_FORKSERVER = multiprocessing.get_context("forkserver")
_FORKSERVER.set_forkserver_preload(["rlkd_run.cli", "rlkd_run.config.composition", "rlkd_run.experiment"])


def _command(arguments: Sequence[str], folder: str, printed: str, complained: str) -> None:
    os.chdir(folder)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # the tests may have been started with nohup
    for path, number in ((printed, 1), (complained, 2)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), number)
    sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
    warnings.simplefilter("error", UserWarning)
    from rlkd_run.cli import main

    main(arguments)


class Forked:
    """`rlkd-run` with these arguments, started in the present folder."""

    def __init__(self, *arguments: str) -> None:
        self._files = [Path(tempfile.mkstemp(dir=".", prefix=".printed-")[1]).resolve() for _ in range(2)]
        self._process = _FORKSERVER.Process(
            target=_command, args=(arguments, os.getcwd(), *(str(path) for path in self._files))
        )
        self._process.start()

    def send_signal(self, number: int) -> None:
        assert self._process.pid is not None
        os.kill(self._process.pid, number)

    def ended(self, *, within: float | None = None) -> int | None:
        """Exit code, minus the signal that killed it; None if it is still running after `within` seconds."""
        self._process.join(within)
        return self._process.exitcode

    @property
    def out(self) -> str:
        """What it has printed so far."""
        return self._files[0].read_text()

    @property
    def err(self) -> str:
        return self._files[1].read_text()
