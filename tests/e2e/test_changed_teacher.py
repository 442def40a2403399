"""A teacher whose weights are no longer those that were trained, or that a run was begun with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from support import TINY, Ended

RUN = [*TINY, "temperature=fixed", "recipe.epochs=1", "teacher.recipe.epochs=1"]


def exchange(weights: Path) -> None:
    """Put other weights of the same network there."""
    save_file({name: torch.zeros_like(value) for name, value in load_file(weights).items()}, weights)


def only(kind: str) -> Path:
    (folder,) = (path for path in Path("outputs", kind).iterdir() if not path.name.startswith("."))
    return folder


def test_a_file_that_is_not_what_was_trained_there(rlkd_run: Callable[..., Ended]) -> None:
    assert rlkd_run(*RUN, "task=train_teacher").code == 0
    weights = only("teachers") / "teacher.safetensors"
    exchange(weights)
    ended = rlkd_run(*RUN)
    assert ended.code == 2
    assert ended.err == (
        f"rlkd-run: {weights} does not hold the weights that were trained there: put those back, remove "
        f"{weights.parent} to have this teacher trained anew, or give teacher.checkpoint={weights} to use it as it "
        "is.\n"
    )
    assert not Path("outputs/runs").exists()
    assert rlkd_run(*RUN, f"teacher.checkpoint={weights}").code == 0
