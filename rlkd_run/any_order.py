"""Writes to chosen positions whose order cannot show in the result."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def any_order() -> Iterator[None]:
    """Let a GPU write as it likes, also where a run asks for equal bits.

    Torch's deterministic forms of such writes sort the positions first: a dozen kernels in place of one. They are not
    needed where all positions differ, or where equal ones get equal values.
    """
    before = torch.get_deterministic_debug_mode()
    torch.set_deterministic_debug_mode("default")
    try:
        yield
    finally:
        torch.set_deterministic_debug_mode(before)
