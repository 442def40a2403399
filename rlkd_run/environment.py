"""Facts about where a run takes place, for its record: packages, code version, machine. Never imports torch."""

from __future__ import annotations

import functools
import os
import platform
import subprocess
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from rlkd_run import __version__

_PACKAGES = ("torch", "torchvision", "timm", "hydra-core", "omegaconf", "numpy", "safetensors")


def provenance(device: Mapping[str, Any]) -> dict[str, Any]:
    """Where and with what a run was carried out: the keys ``packages``, ``code`` and ``machine`` of its record.

    Args:
        device: facts about the device that computed, added to the machine's.
    """
    return {"packages": packages(), "code": code(), "machine": {**machine(), **device}}


def packages() -> dict[str, str]:
    """Versions of the packages that can change a result."""
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


@functools.cache
def code() -> dict[str, Any]:
    """Version of this package, and commit and cleanliness of its checkout where it is one.

    As they are when it is asked first: to be asked before a run begins, since a checkout may move on while it trains.
    """
    here = Path(__file__).resolve().parent
    facts: dict[str, Any] = {"rlkd-run": __version__, "git": None}
    if (here.parent / ".git").exists():
        commit, status = _git(here, "rev-parse", "HEAD"), _git(here, "status", "--porcelain", "--untracked-files=no")
        if commit is not None:
            facts["git"] = {"commit": commit, "modified": bool(status)}
    return facts


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def machine() -> dict[str, Any]:
    """Hardware in words; no host or user names."""
    return {"system": platform.system(), "python": platform.python_version(), "cpu": _cpu(), "cores": os.cpu_count()}


def _cpu() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
