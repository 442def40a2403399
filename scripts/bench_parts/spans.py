"""Where the time of a step goes: callables are wrapped for one measuring pass and put back afterwards.

Only the outermost span counts, so that what a policy calls (a backward pass of its own, say) is the policy's time. On
a GPU the device is waited for at both ends of a span; that makes the pass slower than training is, which is why
throughput is measured without it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

PARTS = ("data", "teacher", "student forward", "backward", "optimiser", "policy", "loss", "meters")
REST = "rest"  # of a step, outside every span


class Spans:
    """Seconds by part of a step.

    Args:
        wait: waits for the device.
    """

    def __init__(self, wait: Callable[[], None]) -> None:
        self.seconds = dict.fromkeys(PARTS, 0.0)
        self._wait = wait
        self._inside = False

    @contextmanager
    def span(self, part: str) -> Iterator[None]:
        """Count what happens inside towards a part, unless a span is open already."""
        if self._inside:
            yield
            return
        self._inside = True
        self._wait()
        began = time.perf_counter()
        try:
            yield
        finally:
            self._wait()
            self.seconds[part] += time.perf_counter() - began
            self._inside = False

    def timed(self, part: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, timed."""

        def call(*arguments: Any, **named: Any) -> Any:
            with self.span(part):
                return function(*arguments, **named)

        return call

    def timed_batches(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """A function that gives an iterator of batches; making it and each of its steps are timed."""

        def call(*arguments: Any, **named: Any) -> Iterator[Any]:
            with self.span("data"):
                batches = iter(function(*arguments, **named))
            end = object()
            while True:
                with self.span("data"):
                    batch = next(batches, end)
                if batch is end:
                    return
                yield batch

        return call


class Called:
    """An object whose call is another function, and which otherwise is the object itself."""

    def __init__(self, inner: Any, call: Callable[..., Any]) -> None:
        self._inner, self._call = inner, call

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        return self._call(*arguments, **named)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


@contextmanager
def patched(*replacements: tuple[Any, str, Callable[[Any], Any]]) -> Iterator[None]:
    """Replace attributes inside the block.

    Args:
        replacements: each an object, the name of its attribute, and what makes the new value of the old one. Where an
            object has no such attribute, nothing happens: a part that does not exist takes no time.
    """
    undo: list[tuple[Any, str, Any]] = []
    missing = object()
    try:
        for owner, name, make in replacements:
            if getattr(owner, name, None) is None:
                continue
            undo.append((owner, name, vars(owner).get(name, missing)))
            setattr(owner, name, make(getattr(owner, name)))
        yield
    finally:
        for owner, name, old in reversed(undo):
            if old is missing:
                delattr(owner, name)
            else:
                setattr(owner, name, old)
