"""What a reader of results says beside the table: a sentence or a short list, on standard error by default."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Callable, Iterable, Sequence

Tell = Callable[[str], None]
"""Receives one sentence, or a list under a line of its own. The table itself goes elsewhere, so that
`rlkd-table … > file` keeps the two apart."""

_SHOWN = 8
_WIDTH = 100  # characters of what is said about one line of a list


def tell_on_stderr(sentence: str) -> None:
    """Print one sentence to standard error."""
    print(sentence, file=sys.stderr)


def counted(number: int, what: str) -> str:
    """`1 run`, `2 runs`."""
    return f"{number} {what}{'' if number == 1 else 's'}"


def listed(items: Iterable[str]) -> str:
    """Join `items` with commas; from a long list the first `_SHOWN` and the number of the others."""
    every = list(items)
    rest = len(every) - _SHOWN
    return ", ".join(every[:_SHOWN]) + (f" and {rest} more" if rest > 0 else "")


def line_each(head: str, items: Sequence[tuple[str, str]]) -> str:
    """A list of names, each with what is to be said about it, clipped; cut as by `listed`."""
    named = items[:_SHOWN]
    width = max(len(name) for name, _ in named)
    lines = [f"  {name:<{width}}  {textwrap.shorten(words, _WIDTH, placeholder=' …')}" for name, words in named]
    rest = len(items) - _SHOWN
    return "\n".join([f"{head}:", *lines, *([f"  and {rest} more"] if rest > 0 else [])])
