"""Configurations as one level of dotted keys, and their values as they are typed."""

from __future__ import annotations

import json
from collections.abc import Mapping

FlatConfig = Mapping[str, object]
"""Dotted key -> value; a list is a value."""


def flatten(config: Mapping[str, object], prefix: str = "") -> dict[str, object]:
    """Turn nested groups into one level: `{"recipe": {"lr": 0.05}}` -> `{"recipe.lr": 0.05}`."""
    flat: dict[str, object] = {}
    for key, value in config.items():
        if isinstance(value, dict):
            flat.update(flatten(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def shown(value: object) -> str:
    """Write a value as it is typed on the command line: `null`, `true`, `0.1`, `[150,180,210]`, `rlkd`."""
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"), ensure_ascii=False)
