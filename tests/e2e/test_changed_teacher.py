"""A teacher whose weights are no longer those that were trained, or that a run was begun with."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from support import TINY, Ended

from rlkd_run import experiment, teachers
from rlkd_run.errors import RunError

RUN = [*TINY, "temperature=fixed", "recipe.epochs=1", "teacher.recipe.epochs=1"]


def exchange(weights: Path) -> None:
    """Put other weights of the same network there."""
    save_file({name: torch.zeros_like(value) for name, value in load_file(weights).items()}, weights)


def train_anew(folder: Path) -> None:
    """As if it had been removed, and trained again where the bits come out otherwise."""
    exchange(folder / "teacher.safetensors")
    record = json.loads((folder / "result.json").read_text())
    record["teacher"]["sha256"] = hashlib.sha256((folder / "teacher.safetensors").read_bytes()).hexdigest()
    (folder / "result.json").write_text(json.dumps(record))


def stop(*arguments: Any) -> None:
    raise RunError("stopped with its checkpoints.")


def only(pattern: str) -> Path:
    (folder,) = Path("outputs").glob(pattern)
    return folder


def test_a_file_that_is_not_what_was_trained_there(rlkd_run: Callable[..., Ended]) -> None:
    assert rlkd_run(*RUN, "task=train_teacher").code == 0
    weights = only("teachers/*") / "teacher.safetensors"
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


@pytest.mark.parametrize(
    ("begun", "module", "pattern"),
    [
        (["task=distill"], experiment, "runs/*"),
        (["task=train_teacher", "teacher.objective=nasty"], teachers, "teachers/digits-nasty-*"),
    ],
    ids=["student", "nasty teacher"],
)
def test_nothing_goes_on_with_another_teacher(
    rlkd_run: Callable[..., Ended], monkeypatch: pytest.MonkeyPatch, begun: list[str], module: Any, pattern: str
) -> None:
    assert rlkd_run(*RUN, "task=train_teacher").code == 0
    teacher = only("teachers/*")
    kept = {path: path.read_bytes() for path in teacher.glob("*.*")}
    with monkeypatch.context() as patch:
        patch.setattr(module, "save_weights", stop)
        assert rlkd_run(*RUN, *begun).code == 1
    train_anew(teacher)
    for _ in range(2):  # a refusal forgets nothing
        ended = rlkd_run(*RUN, *begun)
        assert ended.code == 2
        assert ended.err == (
            f"rlkd-run: {only(pattern)} was begun with other weights of its teacher than {teacher}/teacher.safetensors "
            "holds now: bring those back to go on, or remove the folder to start anew.\n"
        )
    for path, content in kept.items():
        path.write_bytes(content)
    ended = rlkd_run(*RUN, *begun)
    assert ended.code == 0, ended.err


def test_a_run_of_an_earlier_version_goes_on(rlkd_run: Callable[..., Ended], monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(experiment, "save_weights", stop)
        assert rlkd_run(*RUN).code == 1
    status = json.loads((only("runs/*") / "status.json").read_text())
    assert (
        status.pop("teacher_sha256") == hashlib.sha256(only("teachers/*/teacher.safetensors").read_bytes()).hexdigest()
    )
    (only("runs/*") / "status.json").write_text(json.dumps(status))
    train_anew(only("teachers/*"))
    ended = rlkd_run(*RUN)
    assert ended.code == 0, ended.err
