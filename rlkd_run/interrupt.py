"""Ctrl-C, SIGTERM and a closed terminal: requests that the loop answers at the next step, with everything saved."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any, NoReturn

from rlkd_run.errors import Interrupted


def _known(*names: str) -> tuple[int, ...]:
    """The signals of these names that the system has."""
    return tuple(getattr(signal, name) for name in names if hasattr(signal, name))


STOPS = _known("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2")
"""The last two are how Slurm announces that a job's time is over, or that another one needs its place."""

COMMANDS_STOPS = _known("SIGINT", "SIGTERM", "SIGHUP")
"""Those that the command of a sweep answers itself; the others are for its jobs."""

HANGUP = _known("SIGHUP")
"""What comes when the terminal is closed: from the system, from the shell, and from the command to its jobs."""

_ANNOUNCEMENTS = _known("SIGUSR1", "SIGUSR2")

_SAME = 1.0  # seconds; a scheduler signals a job and its supervisor, who passes it on: that is one request


def _heeded(numbers: Iterable[int]) -> list[int]:
    """The signals that are to be answered: all of `numbers` but a SIGHUP that is ignored, as ``nohup`` asks for."""
    return [number for number in numbers if number not in HANGUP or signal.getsignal(number) != signal.SIG_IGN]


@contextmanager
def answered_by(handler: Callable[[int, FrameType | None], Any], numbers: Iterable[int] = STOPS) -> Iterator[None]:
    """Within it, those of `numbers` that are to be answered go to `handler`; nothing happens beside the main thread."""
    here = threading.current_thread() is threading.main_thread()
    previous = {number: signal.signal(number, handler) for number in _heeded(numbers) if here}
    try:
        yield
    finally:
        for number, before in previous.items():
            if signal.getsignal(number) == handler:  # else it is ignored from now on
                signal.signal(number, before)


def stop_at_once(number: int, frame: FrameType | None) -> NoReturn:  # noqa: ARG001
    """A handler for where there is nothing to save.

    Raises:
        Interrupted: always.
    """
    ignore_more_of(number)
    raise Interrupted(number)


def ignore_more_of(number: int | None) -> None:
    """Of a SIGHUP, which comes more than once, the first one counts; the others shall not disturb the way out."""
    if number in HANGUP:
        signal.signal(number, signal.SIG_IGN)


class StopRequest:
    """While entered, the first of `STOPS` is only noted; another one, a second or more later, acts at once.

    A second SIGHUP never does, nor does a SIGTERM after Slurm's announcement, with which a requeue ends the job while
    it may still be at its step: no person is behind them who cannot wait.

    Attributes:
        signal_number: the noted signal; None as long as there is none.
    """

    def __init__(self) -> None:
        self.signal_number: int | None = None
        self._noted = 0.0

    def __enter__(self) -> StopRequest:
        self._handling = answered_by(self._note)  # anew: it may be entered once more after its end
        self._handling.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._handling.__exit__(kind, error, trace)
        ignore_more_of(self.signal_number)

    def _note(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        now = time.monotonic()
        if self.signal_number is None:
            self.signal_number, self._noted = number, now
        elif now - self._noted >= _SAME and not self._can_wait(number):
            raise Interrupted(number)

    def _can_wait(self, number: int) -> bool:
        return number in HANGUP or (self.signal_number in _ANNOUNCEMENTS and number != signal.SIGINT)


@contextmanager
def uninterrupted() -> Iterator[None]:
    """For what an exception in its middle would break, as imports: a signal that comes within it acts at its end.

    Raises:
        Interrupted: there was one.
    """
    with StopRequest() as stop:
        yield
    if stop.signal_number is not None:
        raise Interrupted(stop.signal_number)
