"""Cells -> CSV: one row a cell with every figure, for other programs."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from rlkd_run.results.aggregate import Cell, Spread

COLUMNS = (
    "task",
    "dataset",
    "pair",
    "teacher",
    "student",
    "method",
    "temperature",
    "agent",
    "settings",
    "epochs",
    "n",
    "seeds",
    "top1_best_mean",
    "top1_best_std",
    "top1_last_mean",
    "top1_last_std",
    "top5_best_mean",
    "top5_best_std",
    "top5_last_mean",
    "top5_last_std",
    "teacher_top1_mean",
    "teacher_top5_mean",
    "paper_top1",
    "paper_top5",
    "paper_source",
    "paper_protocol",
    "also_reported",
    "difference",
    "deviations",
    "images_per_second_mean",
    "wall_seconds_mean",
    "cell",
)
"""Accuracies in percent; `difference` is best epoch minus paper, in points; `top5_best` is of the epoch with the best
top-1; `also_reported` is the top-1 that a further source prints, with that source; `;` splits lists."""


def csv_table(cells: Sequence[Cell], groups: Sequence[str] | None = None) -> str:
    """Write cells as CSV with a header; figures with four decimals, empty where there is none.

    Args:
        cells: one a row.
        groups: the group of each, in a first column; None: they are not split.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS if groups is None else ("group", *COLUMNS), lineterminator="\n")
    writer.writeheader()
    for i, cell in enumerate(cells):
        writer.writerow(_row(cell) if groups is None else {"group": groups[i], **_row(cell)})
    return text.getvalue()


def _row(cell: Cell) -> dict[str, str]:
    record = cell.first
    paper = cell.paper
    return {
        "task": record.task,
        "dataset": record.dataset,
        "pair": "" if record.student is None else record.pair,
        "teacher": record.teacher,
        "student": record.student or "",
        "method": record.method or "",
        "temperature": record.temperature or "",
        "agent": record.agent or "",
        "settings": ";".join(cell.settings),
        "epochs": str(record.epochs),
        "n": str(cell.n),
        "seeds": ";".join(map(str, cell.seeds)),
        **_spread("top1_best", cell.best),
        **_spread("top1_last", cell.last),
        **_spread("top5_best", cell.top5("best")),
        **_spread("top5_last", cell.top5("last")),
        "teacher_top1_mean": _mean([r.teacher_top1 for r in cell.records]),
        "teacher_top5_mean": _mean([r.teacher_top5 for r in cell.records]),
        "paper_top1": "" if paper is None else _figure(paper.top1),
        "paper_top5": "" if paper is None or paper.top5 is None else _figure(paper.top5),
        "paper_source": "" if paper is None else paper.source,
        "paper_protocol": "" if paper is None else paper.protocol,
        "also_reported": ";".join(f"{_figure(other.top1)} ({other.source})" for other in cell.also_reported),
        "difference": _difference(cell.difference("best")),
        "deviations": ";".join(f"{d.key}={d.value}" for d in cell.deviations),
        "images_per_second_mean": _mean([r.images_per_second for r in cell.records]),
        "wall_seconds_mean": _mean([r.wall_seconds for r in cell.records]),
        "cell": record.cell,
    }


def _spread(name: str, spread: Spread | None) -> dict[str, str]:
    return {
        f"{name}_mean": "" if spread is None else _figure(spread.mean),
        f"{name}_std": "" if spread is None or spread.std is None else _figure(spread.std),
    }


def _mean(values: list[float | None]) -> str:
    spread = Spread.of(values)
    return "" if spread is None else _figure(spread.mean)


def _difference(points: float | None) -> str:
    return "" if points is None else _figure(points)


def _figure(value: float) -> str:
    text = f"{value:.4f}"
    return text.removeprefix("-") if float(text) == 0 else text
