"""The literature's numbers (`reported.yaml`), so that a table can show them beside measured ones.

On CIFAR-100 RLKD's paper (arXiv 2407.00115: Table 1, vanilla KD on 11 pairs; Table 3, six base methods on 7 pairs)
comes first; what it does not have, and all of ImageNet, is looked up in CTKD's (arXiv 2211.16231).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Any, Literal

import yaml

CIFAR100, IMAGENET = "cifar100", "imagenet"
DATASETS = (CIFAR100, IMAGENET)
"""The data sets with numbers here."""

FAR_FROM_LITERATURE = 1.0
"""Percentage points by which a teacher may miss the literature's accuracy, and be taken for the same one."""

_SOURCES = ("rlkd", "ctkd")
_BESIDE_METHODS = ("pairs", "protocol")  # keys of a Table 3 that are no methods


@dataclass(frozen=True)
class Reported:
    """A number of the literature.

    Attributes:
        top1: test accuracy in percent.
        source: publication and table.
        protocol: of what it is the best or the mean, such as `best test epoch, one seed`.
        temperature: of a distilled student; None of a network that was trained from labels.
        top5: of the same networks, in percent; None where only top-1 is reported.
    """

    top1: float
    source: str
    protocol: str
    temperature: str | None = None
    top5: float | None = None

    def is_comparable(self, select: Literal["best", "last"]) -> bool:
        """Whether it is of that epoch, or does not say of which it is."""
        return select == "best" or not self.protocol.startswith("best")


def reported(pair: str, method: str, temperature: str, dataset: str) -> Reported | None:
    """Look up what the literature reports for a distilled student, RLKD's paper before the others.

    Args:
        pair: `teacher-student`, such as `resnet56-resnet20`.
        method: base method, such as `kd` or `dkd`.
        temperature: `fixed`, `ctkd` or `rlkd`.
        dataset: anything but those of `DATASETS` has no number. Nor has a part of the test set: do not ask for one.
    """
    numbers = every_reported(pair, method, temperature, dataset)
    return numbers[0] if numbers else None


def every_reported(pair: str, method: str, temperature: str, dataset: str) -> tuple[Reported, ...]:
    """Look up the numbers of every source that has one, in the order of preference of `reported`."""
    return tuple(_tables().get((dataset, pair, method, temperature), ()))


def reported_teacher(name: str, dataset: str) -> Reported | None:
    """Look up the accuracy that the literature prints for a teacher, in percent."""
    return _alone().get((dataset, "teacher", name))


def other_teacher(name: str, dataset: str, top1: float) -> Reported | None:
    """What the literature prints for a teacher of the zoo where its accuracy is another one; None where it is not.

    Students of a teacher that is more than `FAR_FROM_LITERATURE` off are not comparable with the literature's.

    Args:
        name: of the teacher.
        dataset: its data set.
        top1: measured on the whole test set, in percent.
    """
    literature = reported_teacher(name, dataset)
    return literature if literature and abs(top1 - literature.top1) > FAR_FROM_LITERATURE else None


def reported_student(name: str, dataset: str) -> Reported | None:
    """Look up the accuracy that the literature prints for a student trained without a teacher, in percent."""
    return _alone().get((dataset, "student", name))


@cache
def pair_order(dataset: str) -> tuple[str, ...]:
    """Return the pairs of a data set in the order of the paper's tables; none where there are no numbers."""
    if dataset == IMAGENET:
        return (_imagenet_pair(),)
    return tuple(_facts()["rlkd"]["table1"]["pairs"]) if dataset == CIFAR100 else ()


@cache
def method_order() -> tuple[str, ...]:
    """Return the base methods in the paper's order, vanilla KD first."""
    papers = _facts()["rlkd"]
    return (papers["table1"]["method"], *(name for name in papers["table3"] if name not in _BESIDE_METHODS))


def temperature_order() -> tuple[str, ...]:
    """Return the temperatures in the paper's order."""
    return ("fixed", "ctkd", "rlkd")


@cache
def _facts() -> Mapping[str, Any]:
    facts: Mapping[str, Any] = yaml.safe_load(files(__package__).joinpath("reported.yaml").read_text(encoding="utf-8"))
    return facts


def _imagenet_pair() -> str:
    facts = _facts()["ctkd"][IMAGENET]
    return f"{facts['teacher_model']}-{facts['student_model']}"


@cache
def _tables() -> Mapping[tuple[str, str, str, str], list[Reported]]:
    found: dict[tuple[str, str, str, str], list[Reported]] = {}

    def put(
        dataset: str,
        pair: str,
        method: str,
        numbers: Mapping[str, float],
        source: str,
        *,
        protocols: Mapping[str, str] = MappingProxyType({}),
        top5: Mapping[str, float] = MappingProxyType({}),
    ) -> None:
        for temperature, top1 in numbers.items():
            of_whom = protocols.get(temperature, protocol)
            number = Reported(top1, source, of_whom, temperature, top5.get(temperature))
            found.setdefault((dataset, pair, method, temperature), []).append(number)

    for name in _SOURCES:
        facts = _facts()[name]
        source, protocol = facts["source"], facts["protocol"]
        table1, table3 = (f"{source}, Table {number}" if name == "rlkd" else source for number in (1, 3))
        for pair, numbers in facts["table1"]["pairs"].items():
            put(
                CIFAR100,
                pair,
                facts["table1"]["method"],
                numbers,
                table1,
                protocols=facts["table1"].get("protocol", {}),
            )
        methods = {key: rows for key, rows in facts["table3"].items() if key not in _BESIDE_METHODS}
        for method, rows in methods.items():
            for column, pair in enumerate(facts["table3"]["pairs"]):
                numbers = {temperature: row[column] for temperature, row in rows.items()}
                put(CIFAR100, pair, method, numbers, table3, protocols=facts["table3"].get("protocol", {}))
        imagenet = facts[IMAGENET] or {"top1": {}, "top5": {}}
        for method, numbers in imagenet["top1"].items():
            put(IMAGENET, _imagenet_pair(), method, numbers, source, top5=imagenet["top5"].get(method, {}))
    return found


@cache
def _alone() -> Mapping[tuple[str, str, str], Reported]:
    """Networks trained from labels: (data set, role, name) -> accuracy."""
    papers, other = _facts()["rlkd"], _facts()["ctkd"]
    models, imagenet = papers["models"], other[IMAGENET]
    found = {
        (CIFAR100, role, name): Reported(top1, papers["source"], models["protocol"])
        for role in ("teacher", "student")
        for name, top1 in models[f"{role}s"].items()
    }
    for role in ("teacher", "student"):
        top1, top5 = imagenet[role]
        number = Reported(top1, other["source"], models["protocol"], top5=top5)
        found[IMAGENET, role, imagenet[f"{role}_model"]] = number
    return found
