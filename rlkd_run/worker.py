"""The process of one job of a sweep: ``python -m rlkd_run.worker FILE ...`` carries out frozen configurations.

One is a run like any other; several are runs side by side (`runtime.cohort`).
"""

from __future__ import annotations

import argparse
import ctypes
import faulthandler
import os
import signal
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import NoReturn

from rlkd_run.cli import exit_code
from rlkd_run.config.identity import folder_of
from rlkd_run.config.runconfig import RunConfig
from rlkd_run.errors import FolderBusy
from rlkd_run.interrupt import answered_by, stop_at_once
from rlkd_run.job import Frozen
from rlkd_run.launch import start, start_together
from rlkd_run.output import expendable_output, ready_streams
from rlkd_run.record import finished, leave_note


def main() -> NoReturn:
    """Entry point; exits like ``rlkd-run``."""
    ready_streams()
    with answered_by(stop_at_once):
        code = _main()
    sys.exit(code)


def _main() -> int:
    faulthandler.enable()
    parser = argparse.ArgumentParser(prog="python -m rlkd_run.worker")
    parser.add_argument("frozen", type=Path, nargs="+", help="files that a sweep wrote")
    parser.add_argument("--wait", action="store_true", help="for another process that is at the same run")
    parser.add_argument("--parent", type=int, required=True, help="process id of the supervisor")
    arguments = parser.parse_args()
    die_with_parent(arguments.parent)
    work = partial(_work, *arguments.frozen) if len(arguments.frozen) == 1 else partial(_together, arguments.frozen)
    with expendable_output():
        return exit_code(lambda: work(wait=arguments.wait))


def _work(path: Path, *, wait: bool) -> int:
    config = Frozen.read(path).config
    try:
        start(config, wait=wait)
    except FolderBusy:  # whoever is at it keeps the record
        raise
    except Exception as error:
        _note(folder_of(config), error)
        raise
    return 0


def _together(paths: Sequence[Path], *, wait: bool) -> int:
    configs = [Frozen.read(path).config for path in paths]

    def note(config: RunConfig, error: Exception) -> None:
        print(f"rlkd-run: {folder_of(config)}: {str(error) or type(error).__name__}", file=sys.stderr)
        if not isinstance(error, FolderBusy):  # whoever is at it keeps the record
            _note(folder_of(config), error)

    try:
        return 1 if start_together(configs, wait=wait, note=note) else 0
    except Exception as error:
        for config in configs:
            if not finished(folder_of(config)):
                _note(folder_of(config), error)
        raise


def _note(folder: Path, error: Exception) -> None:
    """Leave the end of a job in its folder also where the run itself had not begun: no images, no memory, a mistake."""
    leave_note(folder, lambda run: run.failed(error))


def die_with_parent(parent: int) -> None:
    """Ask Linux to stop this process when its supervisor dies, so that a killed sweep leaves no job behind.

    It is asked as by a person: what was reached is saved.
    """
    if sys.platform != "linux":
        return
    set_parent_death_signal = 1
    ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGTERM)
    if os.getppid() != parent:  # it died before the request was made
        os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    main()
