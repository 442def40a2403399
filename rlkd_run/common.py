"""What the runs in one process have in common."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from contextlib import ExitStack, contextmanager
from types import TracebackType
from typing import Any, TypeVar

from rlkd_run.interrupt import StopRequest

T = TypeVar("T")


class Common:
    """Keeps what was made for one run for the others: data set, teacher, its answers; and one request to stop.

    What has a method ``close`` is closed at the end.
    """

    def __init__(self) -> None:
        self._made: dict[Hashable, Any] = {}
        self._stop: StopRequest | None = None
        self._stopping = 0
        self._stack = ExitStack()

    def once(self, key: Hashable, make: Callable[[], T]) -> T:
        """What `make` gives, from the first run that asks for `key`."""
        if key not in self._made:
            self._made[key] = made = make()
            if hasattr(made, "close"):
                self._stack.callback(made.close)
        kept: T = self._made[key]
        return kept

    def first(self, key: Hashable) -> bool:
        """Whether nobody has asked this for `key` before."""
        before = key in self._made
        self._made[key] = True
        return not before

    @property
    def is_stopping(self) -> bool:
        """Whether a run is where signals are only noted."""
        return self._stopping > 0

    @contextmanager
    def stopping(self) -> Iterator[StopRequest]:
        """While any run is in here, signals are noted for all of them."""
        if self._stop is None:
            self._stop = StopRequest()
        if self._stopping == 0:
            self._stop.__enter__()
        self._stopping += 1
        try:
            yield self._stop
        finally:
            self._stopping -= 1
            if self._stopping == 0:
                self._stop.__exit__(None, None, None)

    def __enter__(self) -> Common:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()
