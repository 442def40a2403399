"""What is printed: for people, and no reason to end a run when it cannot be written."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO


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
