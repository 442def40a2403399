from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rlkd_run.results.figures import signed
from rlkd_run.results.report import View, read_report, table_for

Make = Callable[..., dict[str, Any]]
Write = Callable[..., Path]


@pytest.fixture
def table(run_folder: Write, tmp_path: Path) -> Callable[..., list[str]]:
    def build(*results: dict[str, Any]) -> list[str]:
        for i, values in enumerate(results):
            run_folder(f"{i:02}", values)
        return table_for([tmp_path / "outputs"]).split("\n")

    return build


def test_the_whole_table(table: Callable[..., list[str]], result: Make) -> None:
    rlkd = {"temperature": "rlkd", "agent": "paper", "identity.cell": "b", "student.top1.best": 9.5}
    lines = table(
        result({"student.top1.best": 71.25}),
        result({"student.top1.best": 70.75}, seed=1),
        result({**rlkd, "epochs": 3, "teacher.top1": 7.0, "student.top1.last": 9.25}),
    )
    assert lines == [
        "| pair                | method | temperature | best epoch   | last epoch   | top-5        |   n | teacher |"
        " paper |      Δ |",
        "| ------------------- | ------ | ----------- | ------------ | ------------ | ------------ | --: | ------: |"
        " ----: | -----: |",
        "| resnet56-resnet20   | kd     | fixed       | 71.00 ± 0.35 | 70.50 ± 0.00 | 92.00 ± 0.00 |   2 |   72.50 |"
        " 70.66 |  +0.34 |",
        "| resnet56-resnet20 † | kd     | rlkd        |  9.50        |  9.25        | 92.00        |   1 |    7.00 |"
        " 71.40 | -61.90 |",
        "",
        "Top-1 test accuracy on cifar100 in percent, mean ± sample standard deviation over n seeds. "
        "Teacher: its accuracy as measured here.",
        "Best epoch: the highest test accuracy of all epochs, so it is chosen on the test set; "
        "last epoch: after the final one. Top-5: of the best epoch, chosen by top-1.",
        "Paper: fixed: arXiv 2407.00115, Table 1 (best test epoch, mean of 3-5 runs: arXiv 2211.16231's number), "
        "rlkd: arXiv 2407.00115, Table 1 (best test epoch, one seed). Δ: best epoch minus paper, in points.",
        "† Not run under the paper's recipe, so not comparable with its numbers: recipe.epochs=3 (paper 240).",
    ]


def test_the_papers_top5_stands_where_one_is_printed(table: Callable[..., list[str]], result: Make) -> None:
    imagenet = {"dataset": "imagenet", "teacher.name": "resnet34_imagenet", "student.name": "resnet18_imagenet"}
    ctkd = {"temperature": "ctkd", "identity.cell": "b"}
    dkd = {"method": "dkd", "identity.cell": "c"}
    lines = table(result(imagenet), result({**imagenet, **ctkd}), result({**imagenet, **ctkd, **dkd}))
    head, _, *rows = [[text.strip() for text in line.split("|")[-4:-1]] for line in lines[:5]]
    assert head == ["paper", "Δ", "paper's top-5"]
    assert [(paper, top5) for paper, _, top5 in rows] == [("70.83", "90.31"), ("71.32", "90.27"), ("71.51", "")]


def test_nothing_is_claimed_of_a_single_run(table: Callable[..., list[str]], result: Make) -> None:
    lines = table(result(dataset="digits"))
    assert "±" not in "".join(lines)
    assert "†" not in "".join(lines)
    assert lines[2].endswith("|   1 |   72.50 |       |     |")
    assert not any(line.startswith("Paper") for line in lines)
    assert "on digits in percent." in lines[4]


def test_several_data_sets_get_a_column(table: Callable[..., list[str]], result: Make) -> None:
    lines = table(result(dataset="digits"), result())
    assert [line.split("|")[1].strip() for line in lines[:4]] == ["data set", "--------", "cifar100", "digits"]
    assert lines[5].startswith("Top-1 test accuracy in percent.")


def test_settings_only_where_names_clash(table: Callable[..., list[str]], result: Make) -> None:
    lines = table(result(), result({"config.recipe.lr": 0.1, "identity.cell": "b"}))
    assert [line.split("|")[4].strip() for line in (lines[0], *lines[2:4])] == [
        "settings",
        "recipe.lr=0.05",
        "recipe.lr=0.1",
    ]


def test_all_lines_are_equally_long(table: Callable[..., list[str]], result: Make) -> None:
    lines = table(
        result({"student.top1.best": 100.0, "student.top1.last": 3}),
        result({"dataset": "cifar10", "student.name": "a_student_with_a_long_name"}),
        result({"dataset": "digits", "method": "a|b\nc"}),
    )
    assert len({len(line) for line in lines[:5]}) == 1
    assert "a\\|b c" in lines[4]


def test_teachers_have_a_table_of_their_own(
    table: Callable[..., list[str]], result: Make, teacher_result: Make
) -> None:
    lines = table(result(), teacher_result({"identity.cell": "t"}))
    start = lines.index("Teachers")
    assert lines[start + 2 : start + 5] == [
        "| teacher  | best epoch | last epoch |   n | paper |     Δ |",
        "| -------- | ---------- | ---------- | --: | ----: | ----: |",
        "| resnet56 | 72.50      | 72.25      |   1 | 72.34 | +0.16 |",
    ]


def test_teachers_alone(table: Callable[..., list[str]], teacher_result: Make) -> None:
    assert table(teacher_result())[0] == "Teachers"


def test_the_last_epoch_is_not_compared_with_a_best_one(run_folder: Write, result: Make, tmp_path: Path) -> None:
    run_folder("a", result({"student.top5.best": 92.0, "student.top5.last": 91.5}))
    text = read_report([tmp_path / "outputs"], View(select="last")).markdown()
    cells = [cell.strip() for cell in text.split("\n")[2].split("|")]
    assert cells[4:] == ["71.00", "70.50", "91.50", "1", "72.50", "70.66", "", ""]
    assert "Top-5: of the last epoch.\n" in text
    assert "arXiv 2211.16231's number); the last epoch is not compared with a best one." in text


def test_different_teachers_within_a_cell_show(table: Callable[..., list[str]], result: Make) -> None:
    lines = table(result({"teacher.top1": 72.0}), result(seed=1))
    assert "| 72.00-72.50 |" in lines[2]


def test_signs() -> None:
    assert [signed(x) for x in (0.3, -1.234, 0.0, -0.001, 0.004)] == ["+0.30", "-1.23", "0.00", "0.00", "0.00"]


def test_csv_reads_back(run_folder: Write, result: Make, teacher_result: Make, tmp_path: Path) -> None:
    awkward = {"student.name": 'a,"b"\nc', "identity.cell": "z", "student.top5": None}
    run_folder("0", result({"student.top1.best": 71.0, "student.top5.best": 92.0}))
    run_folder("1", result({"student.top1.best": 71.1, "student.top5.best": 92.5, "images_per_second": 345.0}, seed=7))
    run_folder("2", result(awkward))
    run_folder("3", teacher_result())
    text = read_report([tmp_path / "outputs"]).csv()
    first, second, third = csv.DictReader(io.StringIO(text, newline=""))
    assert first == {
        "task": "distill",
        "dataset": "cifar100",
        "pair": "resnet56-resnet20",
        "teacher": "resnet56",
        "student": "resnet20",
        "method": "kd",
        "temperature": "fixed",
        "agent": "",
        "settings": "",
        "epochs": "240",
        "n": "2",
        "seeds": "0;7",
        "top1_best_mean": "71.0500",
        "top1_best_std": "0.0707",
        "top1_last_mean": "70.5000",
        "top1_last_std": "0.0000",
        "top5_best_mean": "92.2500",
        "top5_best_std": "0.3536",
        "top5_last_mean": "91.5000",
        "top5_last_std": "0.0000",
        "teacher_top1_mean": "72.5000",
        "teacher_top5_mean": "92.7500",
        "paper_top1": "70.6600",
        "paper_top5": "",
        "paper_source": "arXiv 2407.00115, Table 1",
        "paper_protocol": "best test epoch, mean of 3-5 runs: arXiv 2211.16231's number",
        "also_reported": "70.6600 (arXiv 2211.16231, README of the authors' code)",
        "difference": "0.3900",
        "deviations": "",
        "images_per_second_mean": "344.5000",
        "wall_seconds_mean": "12000.0000",
        "cell": "9f8e7d6c",
    }
    assert (second["student"], second["top5_best_mean"], second["paper_top1"]) == ('a,"b"\nc', "", "")
    assert (second["n"], second["top1_best_std"]) == ("1", "")
    assert (third["task"], third["student"], third["top1_best_mean"]) == ("train_teacher", "", "72.5000")
