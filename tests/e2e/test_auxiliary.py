"""A network between teacher and student: distilled first, then teaching."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from support import TINY, Ended

COMMAND = [*TINY, "recipe.epochs=1", "method=infoflow", "method.auxiliary=resnet14", "temperature=fixed"]


def result(student: str) -> tuple[Path, dict[str, Any]]:
    (folder,) = Path("outputs/runs").glob(f"digits-resnet14-{student}-infoflow-*")
    return folder, json.loads((folder / "result.json").read_text())


def test_it_is_distilled_first_and_then_teaches(rlkd_run: Callable[..., Ended]) -> None:
    ended = rlkd_run(*COMMAND)
    assert ended.code == 0, ended.err
    auxiliary_folder, first = result("resnet14")
    _, second = result("resnet8")
    assert f"auxiliary resnet14, distilled first\nfolder    {auxiliary_folder}" in ended.out
    assert first["config"]["method"] | {"auxiliary": "resnet14", "critical_weight": 100.0} == second["config"]["method"]
    assert second["teacher"] == first["teacher"]
    assert second["auxiliary"]["name"] == "resnet14"
    assert second["auxiliary"]["top1"] == first["student"]["top1"]["last"]
    folder, _ = result("resnet8")
    ended = rlkd_run("task=evaluate", f"run={folder}", "runtime.num_threads=1")
    assert f"teacher   resnet14: {second['auxiliary']['top1']:.2f} %" in ended.out
    again = rlkd_run(*COMMAND, "seed=1")  # another seed shares it
    assert again.code == 0, again.err
    assert len(list(Path("outputs/runs").iterdir())) == 3


def test_only_networks_of_the_zoo_can_be_auxiliary(rlkd_run: Callable[..., Ended]) -> None:
    ended = rlkd_run(*TINY, "method=infoflow", "temperature=fixed", "method.auxiliary=resnet21")
    assert ended.code == 2
    assert "method.auxiliary=resnet21 is not in the zoo; did you mean resnet" in ended.err
    assert not Path("outputs").exists()
