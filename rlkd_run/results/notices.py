"""What a reader of results says beside the table: one sentence a finding, on standard error by default."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable

Tell = Callable[[str], None]
"""Receives one sentence. The table itself goes elsewhere, so that `rlkd-table … > file` keeps the two apart."""

_SHOWN = 8


def tell_on_stderr(sentence: str) -> None:
    """Print one sentence to standard error."""
    print(sentence, file=sys.stderr)


def listed(items: Iterable[str], *, shown: int = _SHOWN) -> str:
    """Join `items` with commas; from a long list the first `shown` and the number of the others."""
    every = list(items)
    rest = len(every) - shown
    return ", ".join(every[:shown]) + (f" and {rest} more" if rest > 0 else "")
