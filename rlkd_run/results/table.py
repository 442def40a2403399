"""Cells -> a Markdown table that also reads well in a terminal, with the caption that its numbers need."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from rlkd_run.results.aggregate import Cell, Spread
from rlkd_run.results.notices import listed
from rlkd_run.results.settings import Deviation

MARK = "†"
"""Stands on rows that were not run under the paper's recipe."""


@dataclass(frozen=True)
class Column:
    """A column: its head, its text for a cell, and whether its numbers are flush right."""

    head: str
    text: Callable[[Cell], str]
    right: bool = False


def students_table(cells: Sequence[Cell]) -> str:
    """Write distilled students down, one row a cell; empty where something was not measured or is not reported."""
    columns = [
        *([Column("data set", lambda cell: cell.first.dataset)] if _several_datasets(cells) else []),
        Column("pair", _marked(lambda cell: cell.first.pair)),
        Column("method", lambda cell: cell.first.method or ""),
        Column("temperature", lambda cell: cell.temperature),
        *_settings(cells),
        *_accuracies(cells),
        Column("teacher", _teacher, right=True),
        *_paper(),
    ]
    return _markdown(columns, cells) + "\n\n" + _caption(cells, teachers=False)


def teachers_table(cells: Sequence[Cell]) -> str:
    """Write trained teachers down, one row a cell, under a heading of their own."""
    columns = [
        *([Column("data set", lambda cell: cell.first.dataset)] if _several_datasets(cells) else []),
        Column("teacher", _marked(lambda cell: cell.first.teacher)),
        *_settings(cells),
        *_accuracies(cells),
        *_paper(),
    ]
    return "Teachers\n\n" + _markdown(columns, cells) + "\n\n" + _caption(cells, teachers=True)


def _several_datasets(cells: Sequence[Cell]) -> bool:
    return len({cell.first.dataset for cell in cells}) > 1


def _marked(name: Callable[[Cell], str]) -> Callable[[Cell], str]:
    return lambda cell: f"{name(cell)} {MARK}" if cell.deviations else name(cell)


def _settings(cells: Sequence[Cell]) -> list[Column]:
    told = any(cell.settings for cell in cells)
    return [Column("settings", lambda cell: ", ".join(cell.settings))] if told else []


def _accuracies(cells: Sequence[Cell]) -> list[Column]:
    best = _width(cell.best for cell in cells)
    last = _width(cell.last for cell in cells)
    return [
        Column("best epoch", lambda cell: _spread(cell.best, best)),
        Column("last epoch", lambda cell: _spread(cell.last, last)),
        Column("n", lambda cell: str(cell.n), right=True),
    ]


def _paper() -> list[Column]:
    return [
        Column("paper", lambda cell: "" if cell.paper is None else f"{cell.paper.top1:.2f}", right=True),
        Column("Δ", lambda cell: "" if cell.difference is None else signed(cell.difference), right=True),
    ]


def _width(spreads: Iterable[Spread]) -> int:
    return max((len(f"{spread.mean:.2f}") for spread in spreads), default=0)


def _spread(spread: Spread, width: int) -> str:
    """`69.10 ± 0.20`, the means one under the other; a single value claims no spread."""
    mean = f"{spread.mean:{width}.2f}"
    return mean if spread.std is None else f"{mean} ± {spread.std:.2f}"


def signed(points: float) -> str:
    """Write a difference with its sign; what rounds to nothing is `0.00`."""
    text = f"{points:+.2f}"
    return "0.00" if float(text) == 0 else text


def _teacher(cell: Cell) -> str:
    """The teacher's measured accuracy; from where to where if the seeds met different teachers."""
    values = sorted(f"{top1:.2f}" for top1 in (r.teacher_top1 for r in cell.records) if top1 is not None)
    return "" if not values else values[0] if values[0] == values[-1] else f"{values[0]}-{values[-1]}"


def _markdown(columns: Sequence[Column], cells: Sequence[Cell]) -> str:
    rows = [[_escape(column.text(cell)) for column in columns] for cell in cells]
    lines: list[list[str]] = [[] for _ in range(len(rows) + 2)]
    for i, column in enumerate(columns):
        texts = [column.head, *(row[i] for row in rows)]
        width = max(3, *map(len, texts))
        aligned = [f"{text:>{width}}" if column.right else f"{text:<{width}}" for text in texts]
        rule = "-" * (width - 1) + ":" if column.right else "-" * width
        for line, text in zip(lines, [aligned[0], rule, *aligned[1:]], strict=True):
            line.append(text)
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _escape(text: str) -> str:
    """Keep a name from ending its table cell or line."""
    return " ".join(text.replace("|", "\\|").split("\n"))


def _caption(cells: Sequence[Cell], *, teachers: bool) -> str:
    datasets = "" if _several_datasets(cells) else f" on {cells[0].first.dataset}"
    spread = ", mean ± sample standard deviation over n seeds" if any(cell.n > 1 for cell in cells) else ""
    lines = [
        f"Top-1 test accuracy{datasets} in percent{spread}."
        + ("" if teachers else " Teacher: its accuracy as measured here."),
        "Best epoch: the highest test accuracy of all epochs, so it is chosen on the test set; "
        "last epoch: after the final one.",
    ]
    papers = [cell.paper for cell in cells if cell.paper is not None]
    if papers:
        sources = listed(dict.fromkeys(f"{paper.source} ({paper.protocol})" for paper in papers))
        lines.append(f"Paper: {sources}. Δ: best epoch minus paper, in points.")
    marked = [deviation for cell in cells for deviation in cell.deviations]
    if marked:
        lines.append(
            f"{MARK} Not run under the paper's recipe, so not comparable with its numbers: {_deviations(marked)}."
        )
    return "\n".join(lines)


def _deviations(marked: Iterable[Deviation]) -> str:
    """`recipe.epochs=2 or 5 (paper 240), …` over all rows."""
    values: dict[tuple[str, str], dict[str, None]] = {}
    for deviation in marked:
        values.setdefault((deviation.key, deviation.paper), {})[deviation.value] = None
    return listed(f"{key}={' or '.join(own)} (paper {paper})" for (key, paper), own in values.items())
