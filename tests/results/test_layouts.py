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
        ["paper", "", "73.75"],
        ["+rlkd (official_code)", "71.25 (1)", ""],
        ["paper", "71.40", ""],
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
    def train(name: str, teacher: str, **patch: Any) -> None:
        own = {key.replace("__", "."): value for key, value in patch.items() if key != "epochs"}
        top = {"epochs": patch["epochs"]} if "epochs" in patch else {}
        run_folder(name, teacher_result({"teacher.name": teacher, "identity.cell": name, **own}, **top))

    train("alone", "resnet20", teacher__top1__best=69.25)
    train("short", "resnet20", epochs=9)
    train("a", "vgg8", config__teacher__recipe__lr=0.1)
    train("b", "vgg8", config__recipe__weight_decay=1e-4)
    train("c", "vgg8", config__dataset__train_limit=1000)
    train("d", "vgg8", config__teacher__objective="nasty")
    train("started", "vgg8", config__teacher__pretrained=True)
    found = read_report([runs]).markdown()
    assert rows(found)[5] == ["student alone", "69.25 (1)", ""]
    train("e", "vgg8", epochs=20, config__recipe__lr=0.3)  # a teacher is trained at teacher.recipe.lr
    text = read_report([runs]).markdown()
    assert rows(text)[5] == ["student alone", "69.25 (1)", "72.50 (1) †"]
    assert "Student alone: the same network trained from labels on the same data and under the same recipe." in text


def test_a_row_without_a_fixed_one_above_names_its_method(run_folder: Write, result: Make, tmp_path: Path) -> None:
    for method, temperature in (("kd", "fixed"), ("kd", "rlkd"), ("at", "ctkd"), ("at", "rlkd")):
        names = {"identity.cell": method + temperature}
        values = result(names, dataset="cifar10", method=method, temperature=temperature)
        run_folder(method + temperature, values)
    text = read_report([tmp_path / "outputs"], View(layout="paper")).markdown()
    assert [row[0] for row in rows(text)[3:]] == ["kd", "+rlkd", "at +ctkd", "+rlkd"]


def test_what_differs_between_the_columns_of_a_row_is_said(run_folder: Write, result: Make, tmp_path: Path) -> None:
    def put(teacher: str, student: str, temperature: str, **patch: Any) -> None:
        own = {f"config.{key.replace('__', '.')}": value for key, value in patch.items()}
        names = {"teacher.name": teacher, "student.name": student, "config.student.model": student}
        values = result({**names, "identity.cell": teacher + temperature, **own}, dataset="cifar10")
        run_folder(teacher + temperature, {**values, "temperature": temperature})

    follows = {"student__lr": 0.01, "recipe__lr": 0.01}
    put("resnet56", "resnet20", "fixed")
    put("vgg13", "mobilenet_v2", "fixed", **follows)
    put("resnet56", "resnet20", "rlkd", agent__t_max=20)
    put("vgg13", "mobilenet_v2", "rlkd", agent__t_max=10, temperature__value=5.0, **follows)
    text = read_report([tmp_path / "outputs"]).markdown()
    said = "Within a row, the runs of different pairs differ in more than the networks: "
    assert said + "kd +rlkd in agent.t_max, temperature.value.\n" in text


def test_runs_of_other_lengths_share_no_row(
    run_folder: Write, result: Make, teacher_result: Make, tmp_path: Path
) -> None:
    def put(name: str, epochs: int, values: dict[str, Any]) -> None:
        config = values["config"]
        config["recipe"]["epochs"] = config["teacher"]["recipe"]["epochs"] = epochs
        run_folder(name, {**values, "epochs": epochs, "dataset": "digits", "identity": {"run": name, "cell": name}})

    other = {"teacher.name": "vgg13", "student.name": "vgg8", "config.teacher.model": "vgg13"}
    put("a", 4, result({"student.top1.best": 51.0}))
    put("b", 40, result({"student.top1.best": 52.0}, temperature="ctkd"))
    put("c", 40, result({**other, "student.top1.best": 53.0}))
    put("d", 40, result({**other, "student.top1.best": 54.0}, temperature="ctkd"))
    put("e", 40, teacher_result({"teacher.name": "vgg8", "teacher.top1.best": 55.0}))
    put("f", 4, teacher_result({"teacher.name": "resnet20", "teacher.top1.best": 56.0}))
    report = read_report([tmp_path / "outputs"])
    head, _, *others = rows(report.markdown())
    assert head == ["method", "resnet56-resnet20", "vgg13-vgg8"]
    assert others == [
        ["teacher", "72.50", "72.50"],
        ["student alone (recipe.epochs=4)", "56.00 (1)", ""],
        ["student alone (recipe.epochs=40)", "", "55.00 (1)"],
        ["kd (recipe.epochs=4)", "51.00 (1)", ""],
        ["kd (recipe.epochs=40)", "", "53.00 (1)"],
        ["+ctkd (recipe.epochs=40)", "52.00 (1)", "54.00 (1)"],
    ]
    listed = next(report.sections[0].lists("best"))
    column = [head.text for head in listed.heads].index("settings")
    assert [row.texts[column] for row in listed.rows] == [f"recipe.epochs={n}" for n in (4, 40, 40, 40)]
    assert report.csv().count(",fixed,,recipe.epochs=4,") == 1
    assert report.csv().count(",ctkd,,recipe.epochs=40,") == 2
    assert "recipe.epochs=4)" in report.latex()


def test_runs_on_a_part_of_the_test_set_stand_beside_no_paper(run_folder: Write, result: Make, tmp_path: Path) -> None:
    run_folder("part", result({"config.dataset.test_limit": 1000, "config.teacher.recipe.lr": 0.1}))
    names = {"teacher.name": "vgg13", "student.name": "vgg8", "identity.cell": "b"}
    run_folder("whole", result({**names, "config.teacher.recipe.lr": 0.1}))
    text = read_report([tmp_path / "outputs"]).markdown()
    assert rows(text)[2:10] == [
        ["teacher", "72.50", "72.50"],
        ["paper", "", "74.64"],
        ["Δ", "", "-2.14 †"],
        ["student alone", "", ""],
        ["paper", "", "70.36"],
        ["kd (dataset.test_limit=1000)", "71.00 (1) †", ""],
        ["kd (dataset.test_limit=null)", "", "71.00 (1) †"],
        ["paper", "", "72.98"],
    ]


def test_every_number_of_the_paper_has_its_source(run_folder: Write, result: Make, tmp_path: Path) -> None:
    run_folder("random", result(temperature="random"))
    text = read_report([tmp_path / "outputs"], View(layout="paper")).markdown()
    (sources,) = (line for line in text.splitlines() if line.startswith("Paper: "))
    for protocol in (
        "arXiv 2407.00115 (as printed, epoch not stated)",
        "arXiv 2407.00115, Table 1 (best test epoch, mean of 3-5 runs: arXiv 2211.16231's number)",
        "arXiv 2407.00115, Table 1 (best test epoch, one seed)",
    ):
        assert protocol in sources


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


def test_a_pair_without_runs_shows_the_papers_number_once(run_folder: Write, result: Make, tmp_path: Path) -> None:
    other = {"teacher.name": "vgg13", "student.name": "vgg8"}
    run_folder("other", result({**other, "identity.cell": "other"}))
    for value in (3.5, 4.0):
        run_folder(str(value), result({"identity.cell": str(value), "config.temperature.value": value}))
    text = read_report([tmp_path / "outputs"]).markdown()
    assert text.count("70.66") == 2  # beside each of its own
    assert text.count("72.98") == 1


def test_a_preset_of_the_agent_has_the_papers_number_of_its_policy(
    run_folder: Write, result: Make, tmp_path: Path
) -> None:
    run_folder("other", result({"teacher.name": "vgg13", "student.name": "vgg8", "identity.cell": "other"}))
    for agent in ("paper", "official_code"):
        run_folder(agent, result({"identity.cell": agent}, temperature="rlkd", agent=agent))
    text = read_report([tmp_path / "outputs"]).markdown()
    assert text.count("71.40") == 2  # beside each of its own
    assert text.count("73.75") == 1  # of the pair that was run with neither
