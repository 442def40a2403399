"""Numbers and lists in sentences."""

from __future__ import annotations

from collections.abc import Iterable

SHOWN = 8
"""Of a long list, how many are named."""


def counted(number: int, what: str) -> str:
    """`1 run`, `2 runs`."""
    return f"{number} {what}{'' if number == 1 else 's'}"


def listed(items: Iterable[str], shown: int = SHOWN) -> str:
    """Join `items` with commas; from a long list the first few and the number of the others."""
    every = list(items)
    rest = len(every) - shown
    return ", ".join(every[:shown]) + (f" and {rest} more" if rest > 0 else "")
