"""Cells -> CSV: one row a cell with every figure, for other programs."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable

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
    "paper_source",
    "paper_protocol",
    "difference",
    "deviations",
    "images_per_second_mean",
    "wall_seconds_mean",
    "cell",
)
"""Accuracies in percent, `difference` in points; `top5_best` is of the epoch with the best top-1; `;` splits lists."""


def csv_table(cells: Iterable[Cell]) -> str:
    """Write cells as CSV with a header; figures with four decimals, empty where there is none."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for cell in cells:
        writer.writerow(_row(cell))
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
        **_spread("top5_best", Spread.of([None if r.top5 is None else r.top5.best for r in cell.records])),
        **_spread("top5_last", Spread.of([None if r.top5 is None else r.top5.last for r in cell.records])),
        "teacher_top1_mean": _mean([r.teacher_top1 for r in cell.records]),
        "teacher_top5_mean": _mean([r.teacher_top5 for r in cell.records]),
        "paper_top1": "" if paper is None else _figure(paper.top1),
        "paper_source": "" if paper is None else paper.source,
        "paper_protocol": "" if paper is None else paper.protocol,
        "difference": "" if cell.difference is None else _figure(cell.difference),
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


def _figure(value: float) -> str:
    return f"{value:.4f}"
