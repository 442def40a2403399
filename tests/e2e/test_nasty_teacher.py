"""A teacher that resists distillation, from outside: its adversary comes first, and its students find it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from support import TINY, Ended

SHORT = [*TINY, "recipe.epochs=1", "temperature=fixed"]
NASTY = [*SHORT, "teacher.objective=nasty"]


def teachers() -> list[str]:
    return sorted(folder.name[:-9] for folder in Path("outputs/teachers").iterdir())  # without the hash


def test_the_adversary_is_trained_first_and_the_students_find_the_teacher(rlkd_run: Callable[..., Ended]) -> None:
    trained = rlkd_run(*NASTY, "task=train_teacher")
    assert trained.code == 0, trained.err
    assert trained.out.count("training it first") == 1
    assert "no trained resnet14 found" in trained.out
    assert teachers() == ["digits-nasty-resnet14-seed0", "digits-resnet14-seed0"]
    (normal,) = Path("outputs/teachers").glob("digits-resnet14-*")
    assert f"adversary {normal / 'teacher.safetensors'}" in trained.out
    (header, row) = next(Path("outputs/teachers").glob("digits-nasty-*/metrics.csv")).read_text().splitlines()
    values = dict(zip(header.split(","), map(float, row.split(",")), strict=True))
    assert values["loss_undermining"] < 0
    assert values["loss"] < values["loss_ce"]

    for objective, folder in (("nasty", "digits-nasty-resnet14"), ("labels", "digits-resnet14")):
        distilled = rlkd_run(*SHORT, f"teacher.objective={objective}")
        assert distilled.code == 0, distilled.err
        assert "training it first" not in distilled.out
        assert f"teacher   outputs/teachers/{folder}" in distilled.out
    results = [json.loads(path.read_text()) for path in Path("outputs/runs").glob("*/result.json")]
    assert len({result["teacher"]["sha256"] for result in results}) == 2


def test_a_missing_adversary_is_trained_within_a_distillation(rlkd_run: Callable[..., Ended]) -> None:
    ended = rlkd_run(*NASTY)
    assert ended.code == 0, ended.err
    nasty, normal = (ended.out.index(f"no trained {name} found") for name in ("nasty resnet14", "resnet14"))
    assert nasty < normal
    assert len(teachers()) == 2


def test_the_adversary_may_be_given(rlkd_run: Callable[..., Ended]) -> None:
    missing = rlkd_run(*NASTY, "task=train_teacher", "teacher.nasty.adversary=missing.pth")
    assert missing.code == 2
    assert "teacher.nasty.adversary" in missing.err
    assert "missing.pth" in missing.err
    assert not Path("outputs").exists()

    rlkd_run(*SHORT, "task=train_teacher")
    (weights,) = Path("outputs/teachers").glob("*/teacher.safetensors")
    given = weights.rename("given.safetensors")
    weights.with_name("result.json").unlink()
    ended = rlkd_run(*NASTY, "task=train_teacher", f"teacher.nasty.adversary={given}")
    assert ended.code == 0, ended.err
    assert "adversary given.safetensors" in ended.out
    assert "training it first" not in ended.out
