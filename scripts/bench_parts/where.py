"""Where a benchmark ran, for its record and its head line. Never imports torch."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from rlkd_run.environment import provenance

BUSY = 0.25  # load a core, above which times say more about other work than about this


def load() -> float:
    """Processes that ran or waited for a core, mean of the last minute; ask before anything is started."""
    return os.getloadavg()[0]


def where(facts: Mapping[str, Any], load_before: float) -> dict[str, Any]:
    """Machine, packages and version of the code.

    Args:
        facts: of the device, as a measured process gives them.
        load_before: see `load`.
    """
    found = provenance(facts)
    found["machine"]["load_before"] = load_before
    return found


def in_words(found: Mapping[str, Any]) -> str:
    """The same in a few lines."""
    machine, packages = found["machine"], found["packages"]
    git = found["code"]["git"] or {"commit": "unknown", "modified": False}
    device = f"{machine['threads']} threads" if machine["device"] == "cpu" else machine["device"]
    versions = ", ".join(f"{name} {packages[name]}" for name in ("torch", "torchvision") if name in packages)
    busy = machine["load_before"] > BUSY * machine["cores"]
    warning = "\nwarning   the machine does other work as well: neither times nor ratios can be trusted" if busy else ""
    return (
        f"machine   {machine['cpu']}, {machine['cores']} cores; {device}; load before {machine['load_before']:.1f}\n"
        f"versions  python {machine['python']}, {versions}\n"
        f"code      {git['commit'][:12]}{' and changes' if git['modified'] else ''}{warning}"
    )
