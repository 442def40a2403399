"""What torch's profiler sees of a GPU during a few steps: how many kernels, and for how long they run."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

_COPIES = ("gpu_memcpy", "gpu_memset")


def profile(run: Callable[[], None], steps: int) -> dict[str, float]:
    """Profile `run`, which takes `steps` steps and then waits for the device.

    The profiler slows the host and not the kernels: compare the busy time with the time of a step without it.

    Returns:
        Kernels and copies a step, and the milliseconds a step in which the device works on any of them.
    """
    with torch.profiler.profile(
        activities=[torch.profiler.ProfilerActivity.CPU, torch.profiler.ProfilerActivity.CUDA]
    ) as profiler:
        run()
    # The trace rather than the profiler's own tables: its categories tell kernels from annotations in every version.
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "trace.json"
        profiler.export_chrome_trace(str(file))
        events = json.loads(file.read_text())["traceEvents"]
    return summary(events, steps)


def summary(events: list[dict[str, Any]], steps: int) -> dict[str, float]:
    """See `profile`; events of a trace in Chrome's format, times in microseconds."""
    kernels = [event for event in events if event.get("cat") == "kernel"]
    copies = [event for event in events if event.get("cat") in _COPIES]
    busy, end = 0.0, float("-inf")
    for start, length in sorted((event["ts"], event["dur"]) for event in [*kernels, *copies]):
        busy += max(0.0, start + length - max(start, end))  # streams may overlap
        end = max(end, start + length)
    return {
        "kernels_per_step": len(kernels) / steps,
        "copies_per_step": len(copies) / steps,
        "busy_ms_per_step": busy / 1000 / steps,
    }
