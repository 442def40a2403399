from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rlkd_run.errors import ConfigError
from rlkd_run.results.report import View, read_report
from rlkd_run.results.selection import Condition

Make = Callable[..., dict[str, Any]]
Write = Callable[..., Path]


@pytest.fixture
def runs(run_folder: Write, result: Make, tmp_path: Path) -> Path:
    for method in ("kd", "dkd"):
        for seed in (0, 1, 2):
            run_folder(f"{method}{seed}", result({"identity.cell": method}, method=method, seed=seed))
    run_folder("short", result({"config.recipe.epochs": 20, "epochs": 20, "identity.cell": "short"}))
    return tmp_path / "outputs"


def counts(runs: Path, *conditions: str) -> dict[str, int]:
    view = View(where=tuple(map(Condition.parse, conditions)))
    return {cell.first.cell: cell.n for cell in read_report([runs], view).cells}


def test_conditions(runs: Path) -> None:
    assert counts(runs) == {"kd": 3, "short": 1, "dkd": 3}
    assert counts(runs, "method=kd") == {"kd": 3, "short": 1}
    assert counts(runs, "method=kd", "recipe.epochs=240.0") == {"kd": 3}
    assert counts(runs, "seed=0,2", "epochs=240") == {"kd": 2, "dkd": 2}
    assert counts(runs, "teacher.checkpoint=null", "recipe.nesterov=false", "epochs=20") == {"short": 1}


def test_a_list_is_one_value(runs: Path, run_folder: Write, result: Make) -> None:
    features = ["student_confidence", "student_margin"]
    patch = {"config.agent.state.features": features, "config.recipe.milestones": [12, 16], "identity.cell": "lists"}
    run_folder("lists", result(patch))
    assert counts(runs, "recipe.milestones=[12, 16.0]") == {"lists": 1}
    assert counts(runs, "recipe.milestones=[12,16],[150,180,210]", "method=dkd") == {"dkd": 3}
    for text in ("[student_confidence,student_margin]", '["student_confidence","student_margin"]'):
        assert counts(runs, f"agent.state.features={text}") == {"lists": 1}


@pytest.mark.parametrize(
    ("condition", "sentence"),
    [
        ("temprature=fixed", r"No run has a key temprature; did you mean temperature\?"),
        ("xyzzy=1", "No run has a key xyzzy. Known: task, dataset, pair, "),
        ("method=crd", "--where method=crd: no finished run has it; method is dkd, kd."),
        ("method", "--where method: write KEY=VALUE"),
        ("=kd", "--where =kd: write KEY=VALUE"),
    ],
)
def test_mistakes(condition: str, sentence: str, runs: Path) -> None:
    with pytest.raises(ConfigError, match=sentence):
        counts(runs, condition)


def test_groups(runs: Path) -> None:
    report = read_report([runs], View(group_by="epochs"))
    assert [(section.title, len(section.students)) for section in report.sections] == [
        ("epochs=20", 1),
        ("epochs=240", 2),
    ]
    text = report.markdown()
    assert text.startswith("epochs=20\n\n| pair ")
    assert "\n\nepochs=240\n\n| pair " in text
    lines = report.csv().splitlines()
    assert lines[0].startswith("group,task,")
    assert [line.split(",")[0] for line in lines[1:]] == ["epochs=20", "epochs=240", "epochs=240"]


def test_seeds_of_several_folders_make_one_cell(
    run_folder: Write, result: Make, tmp_path: Path, told: list[str]
) -> None:
    for machine, seeds in (("one", (0, 1)), ("two", (1, 2))):
        for seed in seeds:
            run_folder(f"{machine}/{seed}", result(seed=seed))
    roots = [tmp_path / "outputs" / machine for machine in ("one", "two")]
    (cell,) = read_report(roots, tell=told.append).cells
    assert cell.seeds == (0, 1, 2)
    assert len(told) == 1
    assert "two/1 is not counted: it repeats seed 1 of" in told[0]
    assert "In no mean" not in read_report(roots).html()
    run_folder("two/3", result({"student.top1.best": 70.75}, seed=1))
    said = "In no mean: 1 run with another accuracy under the seed of one that is, of all that were looked at."
    assert said in read_report(roots).html()


def test_an_option_that_a_version_did_not_have_is_found_by_what_it_did(
    run_folder: Write, result: Make, tmp_path: Path
) -> None:
    run_folder("old", result({"identity.cell": "a", "config.agent.calibration.kind": "lstm"}))
    new = {"identity.cell": "b", "config.agent.calibration.kind": "lstm"}
    run_folder("new", result({**new, "config.agent.calibration.trust": "explained"}, seed=1))
    run_folder("whole", result({**new, "config.agent.calibration.trust": "whole"}, seed=2))
    run_folder("none", result({"identity.cell": "c"}, seed=3))  # has no agent
    key = "agent.calibration.trust"
    where = View(where=(Condition.parse(f"{key}=explained"),))
    assert sorted(seed for cell in read_report([tmp_path / "outputs"], where).cells for seed in cell.seeds) == [0, 1]
    titles = [section.title for section in read_report([tmp_path / "outputs"], View(group_by=key)).sections]
    assert titles == [f"without {key}", f"{key}=explained", f"{key}=whole"]
