"""What is printed: for people, and no reason to end a run when it cannot be written."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO


def ready_streams() -> None:
    """What every command calls first, so that it can print, whatever it was started with.

    Of a character that the terminal does not have, a question mark is left. Where standard streams are missing, as some
    daemons start a command, the null device takes their place; that of the descriptors as well, since a data file that
    got one of these numbers would take what a library or a child prints.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # the lowest number that is free, i.e. this one
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115 - to the end of the process
    if isinstance(sys.stdout, io.TextIOWrapper):  # standard error escapes them by itself
        sys.stdout.reconfigure(errors="replace")


@contextmanager
def expendable_output() -> Iterator[None]:
    """Within it, what cannot be printed is dropped, where it would raise an OSError otherwise.

    A terminal is gone without a signal (``disown``), a pipe has lost its reader, the disk of the log is full: all that
    counts lies in the run folders. A terminal that is closed also asks for a stop (`rlkd_run.interrupt`).
    """
    streams = sys.stdout, sys.stderr
    ours = sys.stdout, sys.stderr = _expendable(streams[0]), _expendable(streams[1])
    try:
        yield
    finally:
        sys.stdout, sys.stderr = streams
        for stream in ours:
            stream.flush()


def _expendable(stream: TextIO) -> TextIO:
    try:
        number = stream.fileno()
    except (AttributeError, OSError):  # something in a stream's place, as in a notebook
        return stream
    with suppress(OSError):
        stream.flush()
    return io.TextIOWrapper(
        io.BufferedWriter(_Expendable(number, "wb", closefd=False)),
        encoding=stream.encoding,
        errors=stream.errors,
        line_buffering=True,
    )


class _Expendable(io.FileIO):
    def write(self, data: Any, /) -> int:
        try:
            return super().write(data)
        except OSError:
            return len(data)


def let_go_of_lost_readers() -> None:
    """Drop what nobody reads any more; at its end, Python would try to write it again and exit with 120 instead."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
