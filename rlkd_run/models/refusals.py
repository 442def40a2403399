"""What is said of a network that is not there or does not fit."""

from __future__ import annotations

from collections.abc import Collection
from difflib import get_close_matches

from rlkd_run.errors import in_a_line
from rlkd_run.models.names import ZOO_NAMES


def misfit(model: str, image_size: tuple[int, int], error: Exception) -> str:
    """Say that a network does not fit images of (height, width), and what it said itself."""
    size = "x".join(map(str, image_size))
    return (
        f"{model} cannot take images of {size} pixels ({in_a_line(error)}); choose another model, or a data set with "
        "larger images"
    )


def nearest_names(name: str, names: Collection[str]) -> str:
    """Say which names are near a wrong one."""
    near = get_close_matches(name.lower().replace("-", "_"), names, n=3, cutoff=0.5)
    if near:
        return f"the nearest is {near[0]}" if len(near) == 1 else f"the nearest are {', '.join(near)}"
    return (
        f"choose one of {', '.join(names)}" if 0 < len(names) <= len(ZOO_NAMES) else "timm.list_models() has the names"
    )
