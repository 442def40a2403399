"""Synthetic run folders."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Patch = dict[str, Any]

_CONFIG: Patch = {
    "task": {"name": "distill"},
    "dataset": {
        "name": "cifar100",
        "root": "data/cifar100",
        "train_limit": None,
        "test_limit": None,
        "val_split": 0.0,
        "pad": 4,
        "flip": True,
    },
    "teacher": {
        "model": "resnet56",
        "checkpoint": None,
        "pretrained": False,
        "recipe": {"epochs": 240, "batch_size": 64, "lr": 0.05},
    },
    "student": {"model": "resnet20", "lr": 0.05},
    "method": {"name": "kd", "ce_weight": 0.1, "kl_weight": 0.9},
    "temperature": {"name": "fixed", "value": 4.0},
    "recipe": {
        "epochs": 240,
        "batch_size": 64,
        "lr": 0.05,
        "milestones": [150, 180, 210],
        "lr_decay": 0.1,
        "momentum": 0.9,
        "nesterov": False,
        "weight_decay": 5e-4,
    },
    "runtime": {"device": "cpu"},
    "output_root": "outputs",
    "seed": 0,
}

_RESULT: Patch = {
    "schema": 1,
    "task": "distill",
    "student": {
        "name": "resnet20",
        "top1": {"best": 71.0, "last": 70.5, "best_epoch": 230},
        "top5": {"best": 92.0, "last": 91.5},
        "parameters": 278324,
    },
    "teacher": {"name": "resnet56", "top1": 72.5, "top5": 92.75, "sha256": "00"},
    "validation": None,
    "dataset": "cifar100",
    "method": "kd",
    "temperature": "fixed",
    "agent": None,
    "seed": 0,
    "epochs": 240,
    "images_per_second": 344.0,
    "wall_seconds": 12000.0,
    "identity": {"run": "1a2b3c4d", "cell": "9f8e7d6c"},
    "config": _CONFIG,
    "choices": {},
    "packages": {},
    "code": {},
    "machine": {},
}


def put(values: Patch, dotted: str, value: object) -> None:
    """Set `values["a"]["b"]` for the key `a.b`, making groups that are not there."""
    *groups, key = dotted.split(".")
    for group in groups:
        values = values.setdefault(group, {})
    values[key] = value


@pytest.fixture
def result() -> Callable[..., Patch]:
    """Make the content of a result.json: `result({"student.top1.best": 70.0}, seed=1)`.

    Where only the best epoch is given, the last is made no better than it.
    """

    def make(patch: Patch | None = None, **top_level: object) -> Patch:
        values = copy.deepcopy(_RESULT)
        for key, value in {**(patch or {}), **top_level}.items():
            put(values, key, value)
            group, dot, name = key.rpartition(".top1.")
            if dot and name == "best" and isinstance(value, float) and f"{group}.top1.last" not in (patch or {}):
                last = values[group]["top1"].get("last", value)
                put(values, f"{group}.top1.last", min(last, value))
        if isinstance(values["config"], dict):
            values["config"]["seed"] = values["seed"]
        return values

    return make


@pytest.fixture
def teacher_result(result: Callable[..., Patch]) -> Callable[..., Patch]:
    """Make the result.json of `task=train_teacher`."""

    def make(patch: Patch | None = None, **top_level: object) -> Patch:
        teacher = {"name": "resnet56", "top1": {"best": 72.5, "last": 72.25, "best_epoch": 9}, "top5": None}
        base = {"student": None, "teacher": teacher, "method": None, "temperature": None, "task": "train_teacher"}
        return result({**base, "config.task.name": "train_teacher", **(patch or {})}, **top_level)

    return make


@pytest.fixture
def run_folder(tmp_path: Path) -> Callable[[str, object], Path]:
    """Write `<name>/result.json` and `status.json` below `tmp_path/outputs`."""

    def write(name: str, values: object) -> Path:
        folder = tmp_path / "outputs" / name
        folder.mkdir(parents=True)
        (folder / "result.json").write_text(json.dumps(values))
        (folder / "status.json").write_text(json.dumps({"state": "finished", "epoch": 240, "epochs": 240}))
        return folder

    return write


@pytest.fixture
def status_folder(tmp_path: Path) -> Callable[..., Path]:
    """Write `<name>/status.json` alone."""

    def write(name: str, **status: object) -> Path:
        folder = tmp_path / "outputs" / name
        folder.mkdir(parents=True)
        (folder / "status.json").write_text(json.dumps(status))
        return folder

    return write


@pytest.fixture
def told() -> list[str]:
    """Collects sentences: pass `told.append` as `tell`."""
    return []
