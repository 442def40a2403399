"""Independent random streams from one seed.

Every consumer of randomness (weights, order of images, crops, policy noise, ...) owns a stream that is named by what
it is for, so that adding a consumer or resuming in the middle of a run shifts nobody else's numbers.
"""

from __future__ import annotations

import hashlib


def derive_seed(seed: int, *names: str | int) -> int:
    """A 63-bit seed for the stream `names` of a run, e.g. ``derive_seed(0, "order", epoch)``.

    SHA-256 of the parts: equal on every machine and Python version, unlike ``hash``.
    """
    text = "\x1f".join([str(seed), *map(str, names)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
