from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rlkd_run.results.aggregate import Cell, Spread, aggregate
from rlkd_run.results.records import read_record

Make = Callable[..., dict[str, Any]]
Write = Callable[..., Path]

DKD = {"method": "dkd", "config.method.name": "dkd", "config.method.ce_weight": 1.0}


@pytest.fixture
def cells(run_folder: Write, told: list[str]) -> Callable[..., list[Cell]]:
    def build(*results: dict[str, Any]) -> list[Cell]:
        folders = [run_folder(f"{i:02}", values) for i, values in enumerate(results)]
        return aggregate((read_record(folder) for folder in folders), tell=told.append)

    return build


def test_mean_and_sample_deviation_by_hand(cells: Callable[..., list[Cell]], result: Make, told: list[str]) -> None:
    (cell,) = cells(
        result({"student.top1.best": 72.0, "student.top1.last": 71.0}, seed=2),
        result({"student.top1.best": 69.0, "student.top1.last": 69.0}, seed=0),
        result({"student.top1.best": 72.0, "student.top1.last": 70.0}, seed=1),
    )
    # best 69, 72, 72: mean 71, squared deviations 4 + 1 + 1 = 6, over 2: 3. last 69, 70, 71: mean 70, 2 over 2: 1.
    assert (cell.best.mean, cell.best.n) == (71.0, 3)
    assert cell.best.std == pytest.approx(math.sqrt(3), abs=1e-12)
    assert (cell.last.mean, cell.last.n) == (70.0, 3)
    assert cell.last.std == pytest.approx(1.0, abs=1e-12)
    assert (cell.n, cell.seeds) == (3, (0, 1, 2))
    assert cell.paper is not None
    assert cell.paper.top1 == 70.66
    assert cell.difference("best") == pytest.approx(71.0 - 70.66)
    assert told == []


def test_one_seed_has_no_deviation(cells: Callable[..., list[Cell]], result: Make) -> None:
    (cell,) = cells(result())
    assert cell.best == Spread(71.0, None, 1)
    assert cell.last == Spread(70.5, None, 1)


def test_a_spread_is_of_all_runs_or_none() -> None:
    assert Spread.of([1.0, None]) is None
    assert Spread.of([]) is None
    assert Spread.of([1.0, 3.0]) == Spread(2.0, math.sqrt(2), 2)


def test_a_repeated_seed_counts_once(cells: Callable[..., list[Cell]], result: Make, told: list[str]) -> None:
    (cell,) = cells(result(), result(seed=1), result(), result({"student.top1.best": 70.75}, seed=1))
    assert cell.seeds == (0, 1)
    assert cell.best.mean == 71.0
    first, second = told
    assert first.endswith(
        "/02 is not counted: it repeats seed 0 of " + str(cell.records[0].folder) + ", with the same accuracy."
    )
    assert second.endswith(f"it repeats seed 1 of {cell.records[1].folder}, with 70.75 for 71.00.")
    assert cell.unlike_repeats == 1


def test_a_repeat_may_differ_in_its_last_epoch_alone(
    cells: Callable[..., list[Cell]], result: Make, told: list[str]
) -> None:
    (cell,) = cells(result(), result({"student.top1.last": 69.0}))
    assert told[0].endswith("with 69.00 for 70.50 in its last epoch.")
    assert cell.unlike_repeats == 1


def test_cells_are_told_apart_by_what_differs(cells: Callable[..., list[Cell]], result: Make) -> None:
    found = cells(
        result({"config.recipe.lr": 0.1, "identity.cell": "a", "config.runtime.device": "cuda"}),
        result({"identity.cell": "b", "config.output_root": "elsewhere"}, seed=5),
        result({"config.dataset.train_limit": 2000, "identity.cell": "c"}),
        result({"config.dataset.train_limit": 10000, "identity.cell": "d"}),
        result({"identity.cell": "e", "temperature": "rlkd", "agent": "paper"}),
    )
    assert [cell.settings for cell in found] == [
        ("dataset.train_limit=null", "recipe.lr=0.05"),
        ("dataset.train_limit=2000", "recipe.lr=0.05"),
        ("dataset.train_limit=10000", "recipe.lr=0.05"),
        ("dataset.train_limit=null", "recipe.lr=0.1"),
        ("dataset.train_limit=null", "recipe.lr=0.05"),
    ]


def _settings(cells: list[Cell]) -> dict[str, tuple[str, ...]]:
    return {cell.first.cell: cell.settings for cell in cells}


def test_rows_of_other_names_are_told_apart_as_well(cells: Callable[..., list[Cell]], result: Make) -> None:
    short = {"config.recipe.epochs": 4, "config.recipe.milestones": [2, 3], "config.temperature.value": 4.0}
    long = {"config.recipe.epochs": 40, "config.recipe.milestones": [25, 30], "config.temperature.value": 2.0}
    method = {"config.method.name": "dkd", "config.agent.t_max": 5}
    other = {"teacher.name": "vgg13", "student.name": "vgg8", "config.student.model": "vgg8", "dataset": "digits"}
    found = cells(
        result({**short, "identity.cell": "a"}, dataset="digits"),
        result({**short, **method, "identity.cell": "b"}, dataset="digits", method="dkd"),
        result({**long, "identity.cell": "c"}, dataset="digits", temperature="ctkd"),
        result({**long, **other, "identity.cell": "d"}),
        result({**long, "identity.cell": "e"}),
    )
    assert _settings(found) == {
        **dict.fromkeys("ab", ("recipe.epochs=4",)),
        **dict.fromkeys("cd", ("recipe.epochs=40",)),
        "e": (),
    }


def test_what_goes_with_the_networks_is_compared_within_a_pair(cells: Callable[..., list[Cell]], result: Make) -> None:
    other = {"teacher.name": "vgg13", "student.name": "vgg8", "config.teacher.checkpoint": "c.pth"}
    found = cells(
        result({"config.teacher.checkpoint": "a.pth", "identity.cell": "a"}),
        result({"config.teacher.checkpoint": "b.pth", "identity.cell": "b"}, temperature="ctkd"),
        result({**other, "identity.cell": "c"}),
    )
    assert _settings(found) == {"a": ("teacher.checkpoint=a.pth",), "b": ("teacher.checkpoint=b.pth",), "c": ()}


def test_rows_of_images_in_other_folders_are_told_apart(cells: Callable[..., list[Cell]], result: Make) -> None:
    found = cells(
        result({"config.dataset.root": "x", "identity.cell": "a"}, dataset="folder"),
        result({"config.dataset.root": "y", "identity.cell": "b"}, dataset="folder", temperature="ctkd"),
        result({"config.dataset.root": "z", "identity.cell": "c"}),
        result({"identity.cell": "d"}, temperature="ctkd"),
    )
    assert _settings(found) == {"a": ("dataset.root=x",), "b": ("dataset.root=y",), "c": (), "d": ()}


def test_teachers_are_told_apart_by_what_is_theirs(cells: Callable[..., list[Cell]], teacher_result: Make) -> None:
    came_along = {
        "config.temperature.name": "rlkd",
        "config.method.kl_weight": 0.5,
        "config.student.model": "vgg8",
        "config.recipe.epochs": 3,
        "config.teacher.seed": 5,
        "config.runtime.precision": "bf16",
        "config.select_on_test": True,
    }
    own = {"config.teacher.recipe.epochs": 4, "config.recipe.weight_decay": 1e-4}
    found = cells(
        teacher_result({"identity.cell": "a"}),
        teacher_result({**came_along, **own, "identity.cell": "b"}),
        teacher_result({"teacher.name": "vgg13", "identity.cell": "c"}),
    )
    assert _settings(found) == {
        **dict.fromkeys("ac", ("recipe.weight_decay=0.0005", "teacher.recipe.epochs=240")),
        "b": ("recipe.weight_decay=0.0001", "teacher.recipe.epochs=4"),
    }


def test_a_key_that_only_one_has(cells: Callable[..., list[Cell]], result: Make) -> None:
    found = cells(result({"identity.cell": "a"}), result({"config.method.extra": ["x", 1], "identity.cell": "b"}))
    assert {cell.first.cell: cell.settings for cell in found} == {"a": (), "b": ('method.extra=["x",1]',)}


def test_keys_that_follow_the_epochs_are_left_out(cells: Callable[..., list[Cell]], result: Make) -> None:
    short = {"epochs": 2, "config.recipe.epochs": 2, "config.recipe.milestones": [1], "config.teacher.recipe.epochs": 2}
    found = cells(
        result({"identity.cell": "a"}),
        result({**short, "identity.cell": "b"}),
        result({**short, "identity.cell": "c", "config.teacher.recipe.epochs": 240}),
    )
    assert {cell.first.cell: cell.settings for cell in found} == {
        "a": ("recipe.epochs=240", "teacher.recipe.epochs=240"),
        "b": ("recipe.epochs=2", "teacher.recipe.epochs=2"),
        "c": ("recipe.epochs=2", "teacher.recipe.epochs=240"),
    }


def test_weak_keys_only_where_nothing_else_differs(cells: Callable[..., list[Cell]], result: Make) -> None:
    found = cells(
        result({"config.dataset.root": "x", "identity.cell": "a"}, dataset="folder"),
        result({"config.dataset.root": "y", "identity.cell": "b"}, dataset="folder"),
    )
    assert [cell.settings for cell in found] == [("dataset.root=x",), ("dataset.root=y",)]


def test_the_hash_where_configurations_are_equal(cells: Callable[..., list[Cell]], result: Make) -> None:
    found = cells(
        result({"identity.cell": "b"}),
        result({"identity.cell": "a"}, seed=1),
        result({"identity.cell": "c", "config.recipe.lr": 0.2}),
    )
    assert [cell.settings for cell in found] == [
        ("recipe.lr=0.05", "cell=a"),
        ("recipe.lr=0.05", "cell=b"),
        ("recipe.lr=0.2", "cell=c"),
    ]


def test_the_papers_order(cells: Callable[..., list[Cell]], result: Make) -> None:
    def of(teacher: str, student: str, method: str, temperature: str, agent: str | None = None, **top: Any) -> Any:
        names = {"teacher.name": teacher, "student.name": student}
        return result(names, method=method, temperature=temperature, agent=agent, **top)

    wanted = [
        ("resnet56", "resnet20", "kd", "fixed", None),
        ("resnet56", "resnet20", "kd", "ctkd", None),
        ("resnet56", "resnet20", "kd", "rlkd", "paper"),
        ("resnet56", "resnet20", "kd", "rlkd", "official_code"),
        ("resnet56", "resnet20", "kd", "dtkd", None),
        ("resnet56", "resnet20", "kd", "random", None),
        ("resnet56", "resnet20", "pkt", "fixed", None),
        ("resnet56", "resnet20", "dkd", "fixed", None),
        ("resnet56", "resnet20", "at", "fixed", None),
        ("resnet110", "resnet32", "kd", "fixed", None),
        ("vgg13", "vgg8", "kd", "fixed", None),
        ("resnet20", "resnet8", "kd", "fixed", None),
        ("resnet110", "resnet8", "kd", "fixed", None),
    ]
    mixed = [wanted[i * 5 % len(wanted)] for i in range(len(wanted))]
    found = cells(*(of(*what) for what in mixed), of(*wanted[0], dataset="digits"), of(*wanted[0], dataset="cifar10"))
    records = [cell.first for cell in found]
    assert [(r.teacher, r.student, r.method, r.temperature, r.agent) for r in records[:-2]] == wanted
    assert [record.dataset for record in records[-3:]] == ["cifar100", "cifar10", "digits"]


def test_the_agents_preset_is_part_of_the_name(cells: Callable[..., list[Cell]], result: Make) -> None:
    found = cells(
        result(temperature="rlkd", agent="official_code"),
        result(temperature="rlkd", agent="paper"),
        result(temperature="random"),
    )
    assert [cell.temperature for cell in found] == ["rlkd", "rlkd (official_code)", "random"]
    assert [cell.paper and cell.paper.top1 for cell in found] == [71.40, 71.40, None]


@pytest.mark.parametrize(
    "patch", [{"dataset": "cifar10"}, {"config.dataset.test_limit": 500}, {"student.name": "resnet8"}]
)
def test_no_paper_number_for_what_the_paper_did_not_measure(
    patch: dict[str, Any], cells: Callable[..., list[Cell]], result: Make
) -> None:
    (cell,) = cells(result(patch))
    assert cell.paper is None
    assert cell.difference("best") is None


def test_a_teacher_beside_the_literature(cells: Callable[..., list[Cell]], teacher_result: Make) -> None:
    (cell,) = cells(teacher_result(), teacher_result({"teacher.top1.best": 72.0}, seed=1))
    assert cell.paper is not None
    assert (cell.paper.top1, cell.best.mean) == (72.34, 72.25)
    assert cell.deviations == ()


@pytest.mark.parametrize(
    ("patch", "expected"),
    [
        ({}, []),
        ({"epochs": 3, "config.recipe.milestones": [1, 2]}, [("recipe.epochs", "3", "240")]),
        ({"config.recipe.milestones": [100]}, [("recipe.milestones", "[100]", "[150,180,210]")]),
        ({"config.dataset.train_limit": 2000}, [("dataset.train_limit", "2000", "null")]),
        ({"config.dataset.val_split": 0.1}, [("dataset.val_split", "0.1", "0")]),
        ({"config.recipe.batch_size": 128}, [("recipe.batch_size", "128", "64")]),
        ({"config.temperature.value": 2.0}, [("temperature.value", "2.0", "4")]),
        ({"config.method.kl_weight": 1.0}, [("method.kl_weight", "1.0", "0.9")]),
        ({"config.method.name": "dkd", "config.method.ce_weight": 1.0}, []),
        ({**DKD, "config.method.beta": 2.0}, []),
        ({**DKD, "config.method.beta": 6.0}, [("method.beta", "6.0", "2")]),  # method=dkd_mdistiller: no departure
        ({**DKD, "config.method.beta": 8.0, "teacher.name": "resnet32x4"}, []),
        ({**DKD, "config.method.beta": 2.0, "teacher.name": "resnet32x4"}, [("method.beta", "2.0", "8")]),
        ({"config.recipe.lr": 0.01}, [("recipe.lr", "0.01", "0.05")]),
        ({"config.recipe.lr": 0.01, "student.name": "shufflenet_v1"}, []),
        ({"config.recipe.lr": 0.1, "student.name": "shufflenet_v1"}, [("recipe.lr", "0.1", "0.01 or 0.05")]),
        ({"config.teacher.recipe.epochs": 2}, [("teacher.recipe.epochs", "2", "240")]),
        ({"config.teacher.recipe.epochs": 2, "config.teacher.checkpoint": "x.pth"}, []),
        (
            {"config.temperature.name": "rlkd", "config.agent.warmup_epochs": 5},
            [("agent.warmup_epochs", "5", "20")],
        ),
        (
            {"config.temperature.name": "rlkd", "config.agent.warmup_epochs": 5, "epochs": 60},
            [("recipe.epochs", "60", "240")],
        ),
        (
            {"departures": {"agent.t_max": [50.0, 10.0], "temperature.value": [8, 4]}, "config.temperature.value": 8},
            [("temperature.value", "8", "4"), ("agent.t_max", "50.0", "10.0")],
        ),
        (
            {"config.teacher.recipe.epochs": 240, "config.teacher.recipe.milestones": [1, 2]},
            [("teacher.recipe.milestones", "[1,2]", "[150,180,210]")],
        ),
        ({"dataset": "digits", "epochs": 3, "departures": {"agent.t_max": [50.0, 10.0]}}, []),
        (
            {"config.runtime.teacher_cache_precision": "fp16"},
            [("runtime.teacher_cache_precision", "fp16", "fp32")],
        ),
        ({"dataset": "digits", "config.runtime.teacher_cache_precision": "fp16"}, []),
        ({"config.select_on_test": True}, [("select_on_test", "true", "false")]),
        ({"config.teacher.source": "zoo", "teacher.top1": 71.5}, []),
        (
            {"config.teacher.source": "zoo", "teacher.top1": 40.0},
            [("teacher resnet56's top-1", "40.00", "72.34")],
        ),
        ({"config.teacher.source": "timm", "teacher.top1": 40.0}, []),
        (
            {"config.teacher.source": "zoo", "teacher.top1": 40.0, "config.dataset.test_limit": 9},
            [("dataset.test_limit", "9", "null")],
        ),
        ({"config.teacher.objective": "nasty"}, [("teacher.objective", "nasty", "labels")]),
        ({"config.teacher.objective": "nasty", "config.teacher.checkpoint": "t.pth"}, []),
        (
            {"departures": {"student.lr": [0.1, 0.05]}, "config.student.lr": 0.1, "config.recipe.lr": 0.1},
            [("recipe.lr", "0.1", "0.05")],
        ),
        ({"dataset": "digits", "config.select_on_test": True}, [("select_on_test", "true", None)]),
        (
            {
                "dataset": "imagenet",
                "config.teacher.checkpoint": "resnet34.pth",
                "epochs": 100,
                "config.recipe.weight_decay": 1e-4,
                "config.recipe.lr": 0.1,
                "config.recipe.batch_size": 256,
                "config.method.ce_weight": 1,
                "config.method.kl_weight": 0.9,
                "config.dataset.resize": 232,
                "config.temperature.value": 1.0,  # temperature=fixed_1: no departure
            },
            [
                ("recipe.epochs", "100", "120"),
                ("dataset.resize", "232", "256"),
                ("temperature.value", "1.0", "4"),
                ("method.kl_weight", "0.9", "1"),
            ],
        ),
        (
            {
                "dataset": "imagenet",
                "config.teacher.checkpoint": "resnet34.pth",
                "epochs": 120,
                "config.recipe.weight_decay": 1e-4,
                "config.recipe.lr": 0.1,
                "config.recipe.milestones": [30, 60, 90],
                "config.recipe.batch_size": 256,
                "config.method.ce_weight": 1,
                "config.method.kl_weight": 1,
                "config.temperature.name": "rlkd",
                "config.agent.exploration.epochs": "none",
                "config.agent.warmup_epochs": 10,
                "config.agent.train_every": 20,
            },
            [("agent.warmup_epochs", "10", "20")],
        ),
    ],
)
def test_deviations_from_the_papers_recipe(
    patch: dict[str, Any], expected: list[tuple[str, str, str | None]], cells: Callable[..., list[Cell]], result: Make
) -> None:
    (cell,) = cells(result(patch))
    assert [(d.key, d.value, d.paper) for d in cell.deviations] == expected


def test_deviations_of_a_teacher(cells: Callable[..., list[Cell]], teacher_result: Make) -> None:
    patch = {"config.recipe.lr": 0.01, "config.teacher.recipe.lr": 0.1, "config.teacher.recipe.epochs": 9, "epochs": 9}
    (cell,) = cells(teacher_result(patch))
    assert [(d.key, d.value) for d in cell.deviations] == [("recipe.epochs", "9"), ("teacher.recipe.lr", "0.1")]


@pytest.mark.parametrize("dataset", ["cifar100", "digits"])
def test_no_teacher_was_chosen_by_test_accuracy(
    dataset: str, cells: Callable[..., list[Cell]], teacher_result: Make
) -> None:
    (cell,) = cells(teacher_result({"dataset": dataset, "config.select_on_test": True}))
    assert cell.deviations == ()


def test_the_students_recipe_is_none_of_a_teachers_business(
    cells: Callable[..., list[Cell]], teacher_result: Make
) -> None:
    own = {"config.recipe.milestones": [6, 8, 9], "config.recipe.epochs": 10, "config.recipe.lr_policy": "tempbalance"}
    own |= {"config.runtime.precision": "bf16", "config.runtime.teacher_precision": "bf16"}
    (cell,) = cells(teacher_result({**own, "config.teacher.recipe.milestones": [1, 2, 3]}))
    assert [d.key for d in cell.deviations] == ["teacher.recipe.milestones"]


def test_a_network_of_timm_is_not_that_of_the_zoo(cells: Callable[..., list[Cell]], result: Make) -> None:
    (cell,) = cells(result({"config.teacher.source": "timm", "teacher.name": "vgg13", "student.name": "vgg8"}))
    assert cell.first.pair == "timm/vgg13-vgg8"
    assert cell.paper is None
    assert cell.first.student == "vgg8"
