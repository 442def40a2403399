"""The process of one job of a sweep: ``python -m rlkd_run.worker FILE`` carries out a frozen configuration."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from rlkd_run.cli import exit_code
from rlkd_run.config.registry import load_plugins
from rlkd_run.config.runconfig import RunConfig
from rlkd_run.launch import start
from rlkd_run.record import read_json


def main() -> None:
    """Entry point; exits like ``rlkd-run``."""
    die_with_parent(os.getppid())
    sys.exit(exit_code(_work(Path(sys.argv[1]))))


def _work(path: Path) -> Callable[[], int]:
    def work() -> int:
        values = read_json(path)
        load_plugins(values["plugins"])
        start(RunConfig.from_dict(values))
        return 0

    return work


def die_with_parent(parent: int) -> None:
    """Ask Linux to end this process when its supervisor dies, so that a killed sweep leaves no job behind."""
    if sys.platform != "linux":
        return
    set_parent_death_signal = 1
    ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGKILL)
    if os.getppid() != parent:  # it died before the request was made
        os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    main()
