"""torch's global generator for code that draws from no other, without anybody else noticing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def borrowed_stream(seed: int) -> Iterator[None]:
    """Seed the CPU's global generator for what is drawn inside; afterwards it goes on where it was."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield
