"""Locks on files, which the operating system drops with the process that holds them, however it ends."""

from __future__ import annotations

import functools
import os
import sys
import time
from pathlib import Path
from typing import IO

if os.name == "posix":
    import fcntl

_PROBE = 0.05  # seconds; a look by `is_locked` is over by then
_PAUSE = 0.5  # seconds between two tries


def try_lock(file: IO[str]) -> bool:
    """Lock an open file for this process alone until it is closed; False if another process holds it.

    Where the system, or the disk that the file is on, has no such locks, everyone gets one; of a disk that is said.
    """
    if os.name != "posix":
        return True
    for pause in (_PROBE, 0.0):
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            time.sleep(pause)
        except OSError as error:
            _warn(str(Path(file.name).parent), error.strerror)
            return True
    return False


def lock_when_free(file: IO[str]) -> None:
    """As `try_lock`, but wait until no other process holds the lock. Who waits for whom is for the caller to say."""
    while not try_lock(file):
        time.sleep(_PAUSE)


@functools.cache
def _warn(folder: str, reason: str) -> None:
    print(
        f"rlkd-run: the disk of {folder} has no locks ({reason}): start each command and each sweep only once.",
        file=sys.stderr,
    )


def is_locked(path: Path) -> bool:
    """Whether a process holds the lock of a file; looking takes it from nobody."""
    if os.name != "posix":
        return False
    try:
        with open(path) as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # there is no such file, or none can be there
        return False
    return False
