"""The smallest whole run, and how a command ended."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

ROOT = Path(__file__).parent.parent

# The smallest run that goes through everything: real digits, a tiny teacher and student, agent acting and learning.
TINY = [
    "dataset=digits",
    "dataset.train_limit=200",
    "dataset.test_limit=100",
    "teacher=resnet14",
    "student=resnet8",
    "recipe.epochs=2",
    "runtime.num_threads=1",
    "runtime.tensorboard=false",
]


def save_untrained_teacher() -> None:
    """`teacher.safetensors` for runs in which it does not matter what a teacher knows: its training takes longest."""
    import torch
    from safetensors.torch import save_file

    from rlkd_run.models.build import build_model

    torch.manual_seed(0)
    save_file(build_model("zoo", "resnet14", 10).state_dict(), "teacher.safetensors")


def script_module(name: str) -> ModuleType:
    """A file of scripts/, imported as a module."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Ended(NamedTuple):
    code: int
    out: str
    err: str


def command(*arguments: str) -> list[str]:
    """The command for a process of its own."""
    return [sys.executable, "-W", "error::UserWarning", "-m", "rlkd_run", *arguments]
