"""Memory that is freed stays with the process, where the next step finds it without the kernel's help."""

from __future__ import annotations

import subprocess
import sys

import pytest

MIB = 1 << 20
HEAP = """
import re, torch
from rlkd_run.heap import keep_freed_memory
if {kept}:
    keep_freed_memory()
def heap():
    start, end = re.search(r"(\\w+)-(\\w+) .*\\[heap\\]", open("/proc/self/maps").read()).groups()
    return int(end, 16) - int(start, 16)
before = heap()
live = [torch.ones(6 << 20) for _ in range(4)]
del live
print(heap() - before)
"""


def growth(*, kept: bool) -> int:
    """Bytes by which the heap has grown when four tensors of 24 MiB are made and freed: by default they lie outside."""
    done = subprocess.run([sys.executable, "-c", HEAP.format(kept=kept)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's malloc")
def test_freed_tensors_stay_with_the_process() -> None:
    assert growth(kept=True) > 90 * MIB  # a part of the first may have had room before
    assert growth(kept=False) < 24 * MIB
