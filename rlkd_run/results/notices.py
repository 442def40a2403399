"""What a reader of results says beside the table: a sentence or a short list, on standard error by default."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Callable, Sequence

from rlkd_run.words import SHOWN

Tell = Callable[[str], None]
"""Receives one sentence, or a list under a line of its own. The table itself goes elsewhere, so that
`rlkd-table … > file` keeps the two apart."""

_WIDTH = 100  # characters of what is said about one line of a list


def tell_on_stderr(sentence: str) -> None:
    """Print one sentence to standard error."""
    print(sentence, file=sys.stderr)


def line_each(head: str, items: Sequence[tuple[str, str]]) -> str:
    """A list of names, each with what is to be said about it, clipped; cut as by `words.listed`."""
    named = items[:SHOWN]
    width = max(len(name) for name, _ in named)
    lines = [f"  {name:<{width}}  {textwrap.shorten(words, _WIDTH, placeholder=' …')}" for name, words in named]
    rest = len(items) - SHOWN
    return "\n".join([f"{head}:", *lines, *([f"  and {rest} more"] if rest > 0 else [])])
