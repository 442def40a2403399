"""One row a cell: everything that was measured of it, beside the literature's number."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rlkd_run.results.aggregate import Cell, Select
from rlkd_run.results.caption import (
    BEYOND,
    DEVIATES,
    against_paper,
    both_epochs,
    is_beyond,
    measured,
    several_datasets,
)
from rlkd_run.results.figures import signed, spread_text, teacher_text, width_of
from rlkd_run.results.table import Column, Table, table_of


def students_list(cells: Sequence[Cell], select: Select, title: str = "") -> Table:
    """Write distilled students down; empty where something was not measured or is not reported.

    Args:
        cells: at least one.
        select: which epoch is compared with the literature, and whose top-5 is shown.
        title: of the table.
    """
    columns = [
        *_dataset(cells),
        Column("pair", _marked(lambda cell: cell.first.pair)),
        Column[Cell]("method", lambda cell: cell.first.method or ""),
        Column[Cell]("temperature", lambda cell: cell.temperature),
        *_settings(cells),
        *_accuracies(cells, select),
        Column[Cell]("teacher", lambda cell: teacher_text([cell]), right=True),
        *_paper(cells, select),
    ]
    caption = [f"{measured(cells)}. Teacher: its accuracy as measured here.", *_epochs(cells, select)]
    return table_of(columns, cells, [*caption, *_sources(cells, select)], title)


def teachers_list(cells: Sequence[Cell], select: Select, title: str = "") -> Table:
    """Write trained teachers down. Arguments as of `students_list`."""
    columns = [
        *_dataset(cells),
        Column("teacher", _marked(lambda cell: cell.first.teacher)),
        *_settings(cells),
        *_accuracies(cells, select),
        *_paper(cells, select),
    ]
    caption = [f"{measured(cells)}.", *_epochs(cells, select), *_sources(cells, select)]
    return table_of(columns, cells, caption, f"Teachers, {title}" if title else "Teachers")


def _dataset(cells: Sequence[Cell]) -> list[Column[Cell]]:
    return [Column("data set", lambda cell: cell.first.dataset)] if several_datasets(cells) else []


def _marked(name: Callable[[Cell], str]) -> Callable[[Cell], str]:
    return lambda cell: f"{name(cell)} {DEVIATES}" if cell.deviations else name(cell)


def _settings(cells: Sequence[Cell]) -> list[Column[Cell]]:
    told = any(cell.settings for cell in cells)
    return [Column("settings", lambda cell: ", ".join(cell.settings))] if told else []


def _accuracies(cells: Sequence[Cell], select: Select) -> list[Column[Cell]]:
    best, last, top5 = (
        width_of(spreads)
        for spreads in (
            [cell.best for cell in cells],
            [cell.last for cell in cells],
            [cell.top5(select) for cell in cells],
        )
    )
    return [
        Column("best epoch", lambda cell: spread_text(cell.best, best)),
        Column("last epoch", lambda cell: spread_text(cell.last, last)),
        *([Column[Cell]("top-5", lambda cell: spread_text(cell.top5(select), top5))] if top5 else []),
        Column("n", lambda cell: str(cell.n), right=True),
    ]


def _epochs(cells: Sequence[Cell], select: Select) -> list[str]:
    return [both_epochs(top5=select if any(cell.top5(select) for cell in cells) else None)]


def _paper(cells: Sequence[Cell], select: Select) -> list[Column[Cell]]:
    def top1(cell: Cell) -> str:
        return "" if cell.paper is None else f"{cell.paper.top1:.2f}"

    def top5(cell: Cell) -> str:
        return "" if cell.paper is None or cell.paper.top5 is None else f"{cell.paper.top5:.2f}"

    return [
        Column("paper", top1, right=True),
        Column("Δ", lambda cell: difference_text(cell, select), right=True),
        *([Column("paper's top-5", top5, right=True)] if any(map(top5, cells)) else []),
    ]


def _sources(cells: Sequence[Cell], select: Select) -> list[str]:
    return against_paper(cells, select, [cell.paper for cell in cells if cell.paper is not None])


def difference_text(cell: Cell, select: Select) -> str:
    """The difference from the literature's number, marked where the seeds do not explain it."""
    points = cell.difference(select)
    if points is None:
        return ""
    return f"{signed(points)} {BEYOND}" if is_beyond(cell, select) else signed(points)
