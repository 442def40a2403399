"""Memory that is freed and asked for again: by glibc's default the kernel has to clear it anew every time."""

from __future__ import annotations

import subprocess
import sys

import pytest

PAGE_FAULTS = """
import resource, torch
from rlkd_run.heap import keep_freed_memory
if {kept}:
    keep_freed_memory()
def step():
    live = [torch.ones(64, 16, 32, 32) for _ in range(8)]
step(), step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def page_faults(*, kept: bool) -> int:
    """Of ten steps that take 32 MiB and give it back."""
    done = subprocess.run([sys.executable, "-c", PAGE_FAULTS.format(kept=kept)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's malloc")
def test_a_step_finds_the_memory_of_the_last_one() -> None:
    assert 4 * page_faults(kept=True) < page_faults(kept=False)
