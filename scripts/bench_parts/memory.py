"""How much memory a process and its helpers hold, in MiB."""

from __future__ import annotations

import re
import resource
import sys
from pathlib import Path

import torch

MIB = 2**20


def resident() -> float:
    """Resident memory of this process now; its peak where the system does not say."""
    return _status("VmRSS") or peak_resident()


def peak_resident() -> float:
    """Highest resident memory of this process since it began.

    Linux hands `ru_maxrss` down from the parent through fork and exec, so the process's own figure is read.
    """
    unit = 1 if sys.platform == "darwin" else 1024
    return _status("VmHWM") or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / MIB


def helpers() -> float:
    """Private memory of this process's children (DataLoader workers) now; what they share with it is not counted."""
    total = 0.0
    for task in Path("/proc/self/task").glob("*/children"):
        for child in task.read_text().split():
            try:
                rollup = Path(f"/proc/{child}/smaps_rollup").read_text()
            except OSError:
                continue
            total += sum(int(kib) for kib in re.findall(r"^Private_\w+:\s+(\d+) kB", rollup, re.MULTILINE)) / 1024
    return total


def on_device(device: torch.device) -> dict[str, float]:
    """Peaks of torch's allocator on a GPU since the process began: tensors, and what is reserved for them."""
    if device.type != "cuda":
        return {}
    return {
        "gpu_peak_mib": torch.cuda.max_memory_allocated(device) / MIB,
        "gpu_reserved_mib": torch.cuda.max_memory_reserved(device) / MIB,
    }


def allocated(device: torch.device) -> float | None:
    """Memory of the tensors on a GPU now; None on a CPU."""
    return torch.cuda.memory_allocated(device) / MIB if device.type == "cuda" else None


def _status(field: str) -> float:
    try:
        text = Path("/proc/self/status").read_text()
    except OSError:
        return 0.0
    found = re.search(rf"^{field}:\s+(\d+) kB", text, re.MULTILINE)
    return int(found[1]) / 1024 if found else 0.0
