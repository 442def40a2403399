"""What the C library does with memory that a step gives back: kept for the next step, which asks for the same again."""

from __future__ import annotations

import ctypes
import sys

# Numbers of glibc's <malloc.h>.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3

_LARGEST_MMAP_THRESHOLD = 32 * 2**20  # bytes; glibc refuses more
_NEVER = 2**31 - 1


def keep_freed_memory() -> None:
    """Let blocks of up to 32 MiB, which a batch's maps are, come from the heap, and the heap never shrink.

    By default glibc gives large freed blocks back to the kernel and faults them in again, page by page, in the next
    step. Peak memory stays what it was; it is only held until the process ends. Both limits are needed: setting either
    ends glibc's own adjustment of the other. Without glibc nothing happens.
    """
    if sys.platform != "linux":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None and mallopt(_MMAP_THRESHOLD, _LARGEST_MMAP_THRESHOLD):
        mallopt(_TRIM_THRESHOLD, _NEVER)
