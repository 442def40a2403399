from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rlkd_run.results.report import View, read_report

Make = Callable[..., dict[str, Any]]
Write = Callable[..., Path]


@pytest.fixture
def runs(run_folder: Write, result: Make, tmp_path: Path) -> Path:
    """Two pairs; the second has no RLKD, and dkd was run at random temperatures only."""

    def put(pair: str, method: str, temperature: str, *accuracies: float, **more: Any) -> None:
        teacher, student = pair.split("-")
        names = {"teacher.name": teacher, "student.name": student, "identity.cell": pair + method + temperature}
        for seed, top1 in enumerate(accuracies):
            run = result(
                {**names, "student.top1.best": top1}, method=method, temperature=temperature, seed=seed, **more
            )
            run_folder(f"{pair}-{method}-{temperature}-{seed}", run)

    put("resnet56-resnet20", "kd", "fixed", 70.5, 71.0)
    put("resnet56-resnet20", "kd", "rlkd", 71.25, agent="official_code")
    put("vgg13-vgg8", "kd", "fixed", 73.0, epochs=20)
    put("vgg13-vgg8", "dkd", "random", 74.0)
    return tmp_path / "outputs"


def rows(text: str) -> list[list[str]]:
    """The cells of the first table."""
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.split("\n\n")[0].split("\n")]


def test_pairs_in_columns_methods_in_rows(runs: Path) -> None:
    text = read_report([runs]).markdown()
    head, _, *others = rows(text)
    assert head == ["method", "resnet56-resnet20", "vgg13-vgg8"]
    assert others == [
        ["teacher", "72.50", "72.50"],
        ["paper", "72.34", "74.64"],
        ["Δ", "+0.16", "-2.14"],
        ["student alone", "", ""],
        ["paper", "69.06", "70.36"],
        ["kd", "70.75 ± 0.35 (2)", "73.00 (1) †"],
        ["paper", "70.66", "72.98"],
        ["Δ", "+0.09", "+0.02"],
        ["+ctkd", "", ""],
        ["paper", "71.11", "73.48"],
        ["+rlkd", "", ""],
        ["paper", "71.40", "73.75"],
        ["+rlkd (official_code)", "71.25 (1)", ""],
        ["paper", "71.40", "73.75"],
        ["Δ", "-0.15", ""],
        ["dkd", "", ""],
        ["paper", "71.43", ""],
        ["+ctkd", "", ""],
        ["paper", "71.62", ""],
        ["+rlkd", "", ""],
        ["paper", "71.89", ""],
        ["+random", "", "74.00 (1)"],
    ]
    assert "(n in brackets). Best epoch: the highest test accuracy of all epochs" in text
    assert "recipe.epochs=20 (paper 240)" in text


def test_students_trained_alone(runs: Path, run_folder: Write, teacher_result: Make) -> None:
    run_folder("alone", teacher_result({"teacher.name": "resnet20", "teacher.top1.best": 69.25, "identity.cell": "a"}))
    run_folder("short", teacher_result({"teacher.name": "resnet20", "identity.cell": "b"}, epochs=9))
    own = {"config.teacher.recipe.lr": 0.1, "identity.cell": "c"}
    run_folder("other", teacher_result({"teacher.name": "vgg8", **own}))
    text = read_report([runs]).markdown()
    assert rows(text)[5] == ["student alone", "69.25 (1)", "72.50 (1) †"]
    assert "teacher.recipe.lr=0.1 (paper 0.05)" in text.split("\n\nTeachers")[0]
    assert "Student alone: the same network trained from labels for as many epochs." in text


def test_a_list_on_request(runs: Path) -> None:
    text = read_report([runs], View(layout="list")).markdown()
    assert [row[:3] for row in rows(text)[2:]] == [
        ["resnet56-resnet20", "kd", "fixed"],
        ["resnet56-resnet20", "kd", "rlkd (official_code)"],
        ["vgg13-vgg8 †", "kd", "fixed"],
        ["vgg13-vgg8", "dkd", "random"],
    ]


def test_the_whole_of_the_papers_table(runs: Path) -> None:
    found = rows(read_report([runs], View(whole=True)).markdown())
    assert len(found[0]) == 12
    assert found[0][-1] == "resnet32x4-shufflenet_v2"
    assert found[8][-1] == "74.45"
    assert found[7][-1] == ""


def test_the_last_epoch_is_named_and_not_compared(runs: Path) -> None:
    text = read_report([runs], View(select="last")).markdown()
    assert "Last epoch: after the final one." in text
    assert rows(text)[7][1] == "70.50 ± 0.00 (2)"
    assert [row[0] for row in rows(text)].count("Δ") == 1  # the teacher's


def test_each_data_set_has_a_layout_of_its_own(runs: Path, run_folder: Write, result: Make) -> None:
    run_folder("digits", result(dataset="digits"))
    tables = read_report([runs]).tables()
    assert [table.heads[0].text for table in tables] == ["method", "pair", "method"]
    assert [table.sortable for table in tables] == [False, True, True]
    assert tables[2].title == "RLKD against other temperatures"
