"""Where a benchmark ran, for its record and its head line. Never imports torch."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from rlkd_run.environment import provenance


def where(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Machine, packages and version of the code.

    Args:
        facts: of the device, as a measured process gives them.
    """
    found = provenance(facts)
    # A machine that does other work measures that too; the load of the minute before tells.
    found["machine"]["load_before"] = os.getloadavg()[0]
    return found


def in_words(found: Mapping[str, Any]) -> str:
    """The same in a few lines."""
    machine, packages = found["machine"], found["packages"]
    git = found["code"]["git"] or {"commit": "unknown", "modified": False}
    device = f"{machine['threads']} threads" if machine["device"] == "cpu" else machine["device"]
    versions = ", ".join(f"{name} {packages[name]}" for name in ("torch", "torchvision") if name in packages)
    return (
        f"machine   {machine['cpu']}, {machine['cores']} cores; {device}; load before {machine['load_before']:.1f}\n"
        f"versions  python {machine['python']}, {versions}\n"
        f"code      {git['commit'][:12]}{' and changes' if git['modified'] else ''}"
    )
