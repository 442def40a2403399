"""Ctrl-C and SIGTERM as a request that the training loop answers at the next step, with everything saved."""

from __future__ import annotations

import signal
import threading
import time
from types import FrameType, TracebackType
from typing import Any

from rlkd_run.errors import Interrupted

STOPS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGUSR1", "SIGUSR2") if hasattr(signal, name))
"""The last two are how Slurm announces that a job's time is over, or that another one needs its place."""

_SAME = 1.0  # seconds; a scheduler signals a job and its supervisor, who passes it on: that is one request


class StopRequest:
    """While entered, the first of `STOPS` is only noted; another one, a second or more later, acts at once.

    Attributes:
        signal_number: the noted signal; None as long as there is none.
    """

    def __init__(self) -> None:
        self.signal_number: int | None = None
        self._noted = 0.0
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread():
            for number in STOPS:
                self._previous[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        now = time.monotonic()
        if self.signal_number is None:
            self.signal_number, self._noted = number, now
        elif now - self._noted >= _SAME:
            raise Interrupted(number)
