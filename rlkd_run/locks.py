"""Locks on files, which the operating system drops with the process that holds them, however it ends."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import IO

if os.name == "posix":
    import fcntl

_PROBE = 0.05  # seconds; a look by `is_locked` is over by then


def try_lock(file: IO[str]) -> bool:
    """Lock an open file for this process alone until it is closed; False if another process holds it.

    Where the system has no such locks, everyone gets one.
    """
    if os.name != "posix":
        return True
    for pause in (_PROBE, 0.0):
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except OSError:
            time.sleep(pause)
    return False


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
