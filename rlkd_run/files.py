"""Writing files so that a crash cannot leave half of one."""

from __future__ import annotations

import errno
import os
import secrets
import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from rlkd_run.errors import ConfigError, RunError

DISK_FULL = (errno.ENOSPC, errno.EDQUOT)


def beside(path: Path) -> Path:
    """A name for what is on its way to or from `path`, in the same folder and nobody else's.

    A process number would not do: containers that share a disk count their processes alike. The random part comes from
    the system, as a run seeds Python's own numbers; the host is there for the person who finds a leftover.
    """
    return path.with_name(f".{path.name}.{socket.gethostname()[:16]}-{secrets.token_hex(6)}.tmp")


def is_leftover(name: str) -> bool:
    """Whether `beside` gave the name."""
    return name.startswith(".") and name.endswith(".tmp")


def leftovers(folder: Path) -> Iterable[Path]:
    """What processes that were killed while they wrote have left in a folder, under names that `beside` gave."""
    return folder.glob(".*.tmp")


def missing(path: str | os.PathLike[str], what: str) -> str | None:
    """The sentence about a file that is not there; None if it is. `what` is the option that names it."""
    if not os.path.exists(path):
        return f"{what}: {path} does not exist"
    return None if os.path.isfile(path) else f"{what}: {path} is not a file"


@contextmanager
def writing(what: str) -> Iterator[None]:
    """Where the user has chosen the place, that it cannot be written is a mistake, and `what` says which place it is.

    Raises:
        ConfigError: in place of an OSError inside.
        RunError: in place of one that says that the disk is full, which another day it is not.
    """
    try:
        yield
    except OSError as error:
        kind = RunError if error.errno in DISK_FULL else ConfigError
        raise kind(f"{what} cannot be written: {error.strerror or error}.") from error


def write_atomically(path: Path, content: bytes | memoryview) -> None:
    """Replace a file by new content, so that a crash or a full disk leaves the old content whole.

    A process that is killed while it writes (SIGKILL, a power cut) leaves the new content, or a part of it, under the
    name that `beside` gave. Nobody takes such a file for the old one; `RunFolder` and `Checkpoints.load`
    clear their folders of them.

    Raises:
        OSError: the content could not be written; the old file is untouched and nothing is left behind.
    """
    temporary = beside(path)
    try:
        with open(temporary, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with suppress(OSError):  # what happened first is what counts: a read-only disk refuses the clean-up as well
            temporary.unlink()
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Have the names in a folder survive a power cut, as their contents do once they are synced."""
    number = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
