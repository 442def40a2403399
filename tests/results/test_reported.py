from __future__ import annotations

from importlib.resources import files
from typing import Any

import pytest
import yaml

from rlkd_run.results import reported as module
from rlkd_run.results.reported import every_reported, reported, reported_student, reported_teacher

FACTS: dict[str, Any] = yaml.safe_load((files("rlkd_run.results") / "reported.yaml").read_text(encoding="utf-8"))
TABLE1 = FACTS["rlkd"]["table1"]["pairs"]
IMAGENET_PAIR = "resnet34_imagenet-resnet18_imagenet"
TABLE3 = {name: rows for name, rows in FACTS["rlkd"]["table3"].items() if name not in ("pairs", "protocol")}


def test_the_tables_are_whole() -> None:
    assert len(TABLE1) == 11
    assert all(set(row) == {"fixed", "ctkd", "rlkd"} for row in TABLE1.values())
    assert sorted(TABLE3) == ["crd", "dkd", "pkt", "sp", "srrl", "vid"]
    assert len(FACTS["rlkd"]["table3"]["pairs"]) == 7
    assert all(len(row) == 7 for rows in TABLE3.values() for row in rows.values())


@pytest.mark.parametrize("pair", TABLE1)
def test_table_1(pair: str) -> None:
    for temperature, top1 in TABLE1[pair].items():
        found = reported(pair, "kd", temperature, "cifar100")
        assert found is not None
        assert (found.top1, found.source) == (top1, "arXiv 2407.00115, Table 1")
        # The fixed temperature's were taken over from CTKD's authors, so that they are not of the same seed.
        copied = top1 == FACTS["ctkd"]["table1"]["pairs"][pair].get(temperature)
        assert copied is (temperature == "fixed")
        assert ("arXiv 2211.16231's number" in found.protocol) is copied
        assert ("one seed" in found.protocol) is not copied


@pytest.mark.parametrize("method", TABLE3)
def test_table_3(method: str) -> None:
    for temperature, row in TABLE3[method].items():
        for pair, top1 in zip(FACTS["rlkd"]["table3"]["pairs"], row, strict=True):
            found = reported(pair, method, temperature, "cifar100")
            assert found is not None
            assert (found.top1, found.source) == (top1, "arXiv 2407.00115, Table 3")
            assert ("arXiv 2211.16231's number" in found.protocol) is (temperature == "fixed")
            assert ("one seed" in found.protocol) is (temperature != "fixed")


def test_all_of_table_3s_fixed_temperatures_are_ctkds() -> None:
    # Of the other column 3 of 42 agree: it was measured anew.
    theirs = FACTS["ctkd"]["table3"]
    assert theirs["pairs"] == FACTS["rlkd"]["table3"]["pairs"]
    assert {name: rows["fixed"] for name, rows in TABLE3.items()} == {name: theirs[name]["fixed"] for name in TABLE3}
    for method in TABLE3:
        for pair, top1 in zip(theirs["pairs"], theirs[method]["ctkd"], strict=True):
            _, second = every_reported(pair, method, "ctkd", "cifar100")
            assert (second.top1, second.source) == (top1, FACTS["ctkd"]["source"])


def test_some_numbers_as_printed() -> None:
    def top1(pair: str, method: str, temperature: str) -> float | None:
        found = reported(pair, method, temperature, "cifar100")
        return None if found is None else found.top1

    assert top1("resnet56-resnet20", "kd", "fixed") == 70.66
    assert top1("resnet56-resnet20", "kd", "rlkd") == 71.40
    assert top1("resnet32x4-shufflenet_v2", "dkd", "rlkd") == 77.21
    assert top1("wrn_40_2-wrn_16_2", "crd", "ctkd") == 75.71


def test_the_second_source_comes_second() -> None:
    for pair, row in FACTS["ctkd"]["table1"]["pairs"].items():
        for temperature, top1 in row.items():
            first, second = every_reported(pair, "kd", temperature, "cifar100")
            assert first.source.startswith("arXiv 2407.00115")
            assert second.top1 == top1
            assert second.source.startswith("arXiv 2211.16231")
            assert "mean of 3-5 runs" in second.protocol


@pytest.mark.parametrize(
    "what",
    [
        ("resnet56-resnet20", "kd", "rlkd", "cifar10"),
        ("resnet56-resnet20", "kd", "random", "cifar100"),
        ("resnet20-resnet8", "kd", "rlkd", "cifar100"),
        ("vgg13-vgg8", "dkd", "rlkd", "cifar100"),
        ("resnet56-resnet20", "dist", "fixed", "cifar100"),
    ],
)
def test_what_is_not_reported(what: tuple[str, str, str, str]) -> None:
    assert reported(*what) is None
    assert every_reported(*what) == ()


def test_imagenet_is_ctkds() -> None:
    numbers = {
        (method, temperature): found.top1
        for method in ("kd", "pkt", "rkd", "srrl", "dkd")
        for temperature in ("fixed", "ctkd", "rlkd")
        if (found := reported(IMAGENET_PAIR, method, temperature, "imagenet")) is not None
    }
    assert len(numbers) == 10  # the paper's own are not known
    assert (numbers["kd", "fixed"], numbers["kd", "ctkd"], numbers["dkd", "ctkd"]) == (70.83, 71.32, 71.51)
    teacher = reported_teacher("resnet34_imagenet", "imagenet")
    student = reported_student("resnet18_imagenet", "imagenet")
    assert teacher is not None
    assert student is not None
    assert (teacher.top1, teacher.top5, student.top1, student.top5) == (73.96, 91.58, 70.26, 89.50)
    top5 = {
        name: found and found.top5
        for name in ("kd", "dkd")
        if (found := reported(IMAGENET_PAIR, name, "ctkd", "imagenet"))
    }
    assert top5 == {"kd": 90.27, "dkd": None}
    assert teacher.source == student.source == FACTS["ctkd"]["source"]
    assert reported(IMAGENET_PAIR, "kd", "fixed", "cifar100") is None
    assert reported("resnet56-resnet20", "kd", "fixed", "imagenet") is None


def test_networks_alone() -> None:
    for role, look_up in (("teachers", reported_teacher), ("students", reported_student)):
        for name, top1 in FACTS["rlkd"]["models"][role].items():
            found = look_up(name, "cifar100")
            assert found is not None
            assert (found.top1, found.protocol) == (top1, "as printed, epoch not stated")
            assert look_up(name, "digits") is None
        assert look_up("resnet8", "cifar100") is None


def test_orders_are_the_papers() -> None:
    assert module.pair_order("cifar100") == tuple(TABLE1)
    assert module.pair_order("imagenet") == (IMAGENET_PAIR,)
    assert module.pair_order("digits") == ()
    assert module.method_order() == ("kd", "pkt", "sp", "vid", "crd", "srrl", "dkd")
