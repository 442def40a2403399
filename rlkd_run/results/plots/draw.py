"""Which pictures some cells give."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Sequence
from functools import partial

from matplotlib.figure import Figure

from rlkd_run.results.aggregate import Cell, Select
from rlkd_run.results.epochs import Epochs
from rlkd_run.results.notices import Tell, tell_on_stderr
from rlkd_run.results.plots.accuracy import accuracy_dots
from rlkd_run.results.plots.curves import AGENT, agent_curves, learning_curves
from rlkd_run.results.plots.figure import Picture
from rlkd_run.results.plots.seeds import curve, metrics, temperatures
from rlkd_run.results.plots.temperature import class_maps, temperature_maps, uncertainty_curves

Drawing = Callable[[Sequence[Cell], Tell], Figure]


def pictures(
    cells: Sequence[Cell], select: Select, *, group: str = "", tell: Tell = tell_on_stderr
) -> Iterator[Picture]:
    """Every picture for which the runs left what it needs.

    Args:
        cells: distilled students.
        select: which epoch's accuracy is drawn beside the paper's.
        group: `key=value` of all of them, if there are others; part of names and titles.
        tell: receives a sentence on each file that cannot be read in full, once.
    """
    tell = _once(tell)
    for dataset in dict.fromkeys(cell.first.dataset for cell in cells):
        here = [cell for cell in cells if cell.first.dataset == dataset]
        names = [dataset, group] if group else [dataset]
        for method in dict.fromkeys(cell.first.method or "" for cell in here):
            of_method = [cell for cell in here if cell.first.method == method]
            yield from _of_method(f"{method} on {', '.join(names)}", _name(*names, method), of_method, select, tell)


def _of_method(what: str, name: str, cells: Sequence[Cell], select: Select, tell: Tell) -> Iterator[Picture]:
    title = f"Test accuracy of {what}: seeds, mean and standard deviation, and the paper's number."
    yield Picture(_name("accuracy", name), title, partial(accuracy_dots, cells, select))
    kinds: list[tuple[str, str, Drawing, Callable[[Cell], bool]]] = [
        (
            "curves",
            f"Learning curves of {what}: test accuracy, mean and standard deviation over seeds.",
            learning_curves,
            lambda cell: _any(metrics(cell, tell), "test_top1"),
        ),
        (
            "temperature",
            f"Temperatures of {what}, epoch by epoch: the share of instances at each, over all seeds together.",
            temperature_maps,
            lambda cell: any(_moves(run) for run in metrics(cell, tell)),
        ),
        (
            "temperature-by-class",
            f"Mean temperature of every class under {what}, epoch by epoch, seed by seed.",
            class_maps,
            lambda cell: bool(temperatures(cell, tell)),
        ),
        (
            "temperature-by-entropy",
            f"Mean temperature under {what} against the student's uncertainty, seed by seed; ten instances a point or "
            "more.",
            uncertainty_curves,
            lambda cell: bool(temperatures(cell, tell)),
        ),
        (
            "agent",
            f"The agent under {what}: means of every epoch in which it learnt, and their spread over seeds.",
            agent_curves,
            lambda cell: any(curve(metrics(cell, tell), column) for column in AGENT),
        ),
    ]
    for kind, title, draw, suits in kinds:
        suited = [cell for cell in cells if suits(cell)]
        if suited:
            yield Picture(_name(kind, name), title, partial(draw, suited, tell))


def _any(runs: Sequence[Epochs], column: str) -> bool:
    return any(column in run.columns for run in runs)


def _moves(run: Epochs) -> bool:
    """Whether the temperature was not the same for all instances of all epochs."""
    ends = [*run.columns.get("t_min", ()), *run.columns.get("t_max", ())]
    return len({end for end in ends if not math.isnan(end)}) > 1


def _name(*parts: str) -> str:
    """A file's name: parts with hyphens between, and nothing in them that a file system minds."""
    return re.sub(r"[^\w.-]+", "_", "-".join(parts))


def _once(tell: Tell) -> Tell:
    told: set[str] = set()

    def first_time(sentence: str) -> None:
        if sentence not in told:
            told.add(sentence)
            tell(sentence)

    return first_time
