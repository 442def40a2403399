"""Records -> cells: all seeds of one setting, with mean and sample standard deviation, in the order of the paper."""

from __future__ import annotations

import math
import re
import statistics
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from rlkd_run.results.apart import row_name, row_settings
from rlkd_run.results.notices import Tell, tell_on_stderr
from rlkd_run.results.paper_recipe import Deviation, deviations
from rlkd_run.results.records import DISTILL, Accuracy, Record
from rlkd_run.results.reported import (
    DATASETS,
    Reported,
    every_reported,
    method_order,
    pair_order,
    reported_teacher,
    temperature_order,
)

Select = Literal["best", "last"]
"""Which epoch's accuracy is compared: that with the best top-1 on the test set, or the final one."""


@dataclass(frozen=True)
class Spread:
    """Mean of n values and their sample standard deviation (ddof 1), which one value does not have."""

    mean: float
    std: float | None
    n: int

    @classmethod
    def of(cls, values: Sequence[float | None]) -> Spread | None:
        """Summarise `values`; None where one of them is missing, since the mean of the others is of other runs."""
        numbers = [value for value in values if value is not None]
        if not numbers or len(numbers) != len(values):
            return None
        return cls(statistics.fmean(numbers), statistics.stdev(numbers) if len(numbers) > 1 else None, len(numbers))


@dataclass(frozen=True)
class Cell:
    """One setting, run under one or more seeds. Accuracies in percent; `records` in the order of their seeds.

    Attributes:
        records: the runs, one a seed.
        settings: `key=value` of the keys that tell this cell from others, as `apart.row_settings` finds them.
        paper: what the literature reports for it.
        deviations: where it leaves the recipe of the literature, or chose by test accuracy.
        unlike_repeats: how many runs repeat one of `records` with another accuracy, and are not counted.
        also_reported: what further sources print for it.
    """

    records: tuple[Record, ...]
    settings: tuple[str, ...] = ()
    paper: Reported | None = None
    deviations: tuple[Deviation, ...] = ()
    unlike_repeats: int = 0
    also_reported: tuple[Reported, ...] = ()

    @property
    def first(self) -> Record:
        """The run of the lowest seed, for everything that all runs of a cell share."""
        return self.records[0]

    @property
    def n(self) -> int:
        """Number of seeds."""
        return len(self.records)

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds, rising."""
        return tuple(record.seed for record in self.records)

    @property
    def temperature(self) -> str:
        """The temperature as a table names it: with the agent's preset unless that is the paper's."""
        name, agent = self.first.temperature or "", self.first.agent
        return name if agent in (None, "paper") else f"{name} ({agent})"

    @property
    def name(self) -> str:
        """What it is about, in words that tell it from other cells."""
        words = " ".join(filter(None, (self.first.dataset, self.first.pair, self.first.method, self.temperature)))
        return f"{words} ({', '.join(self.settings)})" if self.settings else words

    @property
    def best(self) -> Spread:
        """Top-1 of the best epoch."""
        return self.top1("best")

    @property
    def last(self) -> Spread:
        """Top-1 of the last epoch."""
        return self.top1("last")

    def top1(self, select: Select) -> Spread:
        """Top-1 of the selected epoch."""
        spread = Spread.of([getattr(record.top1, select) for record in self.records])
        assert spread is not None  # a cell has a record, and every record these values
        return spread

    def top5(self, select: Select) -> Spread | None:
        """Top-5 of the epoch that top-1 selects; None where a run did not measure it."""
        return Spread.of([None if record.top5 is None else getattr(record.top5, select) for record in self.records])

    def difference(self, select: Select) -> float | None:
        """Measured minus reported, in points; None where the two are not of the same epoch, or nothing is reported."""
        if self.paper is None or not self.paper.is_comparable(select):
            return None
        return self.top1(select).mean - self.paper.top1


def aggregate(records: Iterable[Record], *, tell: Tell = tell_on_stderr) -> list[Cell]:
    """Group the records of one task into cells: same data set, networks, method, temperature and `identity.cell`.

    Args:
        records: finished runs, all distillations or all trainings of a teacher.
        tell: receives one sentence on each run that repeats a seed of its cell; the first one is kept.

    Returns:
        The cells in the paper's order: data set, pair, method, temperature.
    """
    groups: dict[tuple[str | None, ...], dict[int, Record]] = {}
    unlike: Counter[tuple[str | None, ...]] = Counter()
    for record in records:
        name = (*row_name(record), record.cell)
        runs = groups.setdefault(name, {})
        kept = runs.setdefault(record.seed, record)
        if kept is not record:
            unlike[name] += kept.top1 != record.top1
            told = _told_apart(record.top1, kept.top1)
            tell(f"{record.folder} is not counted: it repeats seed {record.seed} of {kept.folder}, {told}.")
    rows = [tuple(runs[seed] for seed in sorted(runs)) for runs in groups.values()]
    settings = row_settings([row[0] for row in rows])
    return sorted(map(_cell, rows, settings, (unlike[name] for name in groups)), key=_order)


def _told_apart(one: Accuracy, other: Accuracy) -> str:
    if one.best != other.best:
        return f"with {one.best:.2f} for {other.best:.2f}"
    if one.last != other.last:
        return f"with {one.last:.2f} for {other.last:.2f} in its last epoch"
    return "with the same accuracy"


def _cell(records: tuple[Record, ...], settings: tuple[str, ...], unlike_repeats: int) -> Cell:
    papers = _literature(records[0])
    paper, others = (papers[0], papers[1:]) if papers else (None, ())
    return Cell(records, settings, paper, deviations(records[0]), unlike_repeats, others)


def _literature(record: Record) -> tuple[Reported, ...]:
    """All that is reported, RLKD's paper first; nothing for a part of the test set."""
    if record.config.get("dataset.test_limit") is not None:
        return ()
    if record.task == DISTILL:
        return every_reported(record.pair, record.method or "", record.temperature or "", record.dataset)
    teacher = reported_teacher(record.teacher, record.dataset)
    return () if teacher is None else (teacher,)


def _order(cell: Cell) -> tuple[object, ...]:
    record = cell.first
    return (
        _rank(record.dataset, DATASETS),
        _rank(record.pair, pair_order(record.dataset)),
        _rank(record.method or "", method_order()),
        _rank(record.temperature or "", temperature_order()),
        _rank(record.agent or "", ("", "paper")),
        len(cell.deviations),
        tuple(natural(setting) for setting in cell.settings),
        record.cell,
    )


def paper_ranks(method: str, temperature: str) -> tuple[object, ...]:
    """Sort key: the paper's methods first, in its order, and under each its temperatures; then the others by name.

    Args:
        method: base method.
        temperature: as `Cell.temperature` names it, with the agent's preset.
    """
    name, _, preset = temperature.partition(" ")
    return _rank(method, method_order()), _rank(name, temperature_order()), preset


def _rank(name: str, known: Sequence[str]) -> tuple[int, list[tuple[float, str]]]:
    return (known.index(name), []) if name in known else (len(known), natural(name))


def natural(text: str) -> list[tuple[float, str]]:
    """Sort key under which numbers within a name count as numbers: `lr=0.05` < `lr=0.1`, `resnet8` < `resnet20`."""
    parts = re.split(r"(\d+(?:\.\d+)?)", text)
    return [(float(part), "") if i % 2 else (math.inf, part) for i, part in enumerate(parts)]
