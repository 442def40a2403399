"""Numbers as a table shows them."""

from __future__ import annotations

from collections.abc import Iterable

from rlkd_run.results.aggregate import Cell, Spread


def width_of(spreads: Iterable[Spread | None]) -> int:
    """Characters of the longest mean, so that the others can stand under it."""
    return max((len(f"{spread.mean:.2f}") for spread in spreads if spread is not None), default=0)


def spread_text(spread: Spread | None, width: int = 0) -> str:
    """`69.10 ± 0.20`; a single value claims no spread, and None is empty."""
    if spread is None:
        return ""
    mean = f"{spread.mean:{width}.2f}"
    return mean if spread.std is None else f"{mean} ± {spread.std:.2f}"


def signed(points: float) -> str:
    """Write a difference with its sign; what rounds to nothing is `0.00`."""
    text = f"{points:+.2f}"
    return "0.00" if float(text) == 0 else text


def teacher_text(cells: Iterable[Cell]) -> str:
    """The teacher's measured accuracy; from where to where if the runs met different teachers."""
    measured = (record.teacher_top1 for cell in cells for record in cell.records)
    values = sorted(top1 for top1 in measured if top1 is not None)
    if not values:
        return ""
    least, most = f"{values[0]:.2f}", f"{values[-1]:.2f}"
    return least if least == most else f"{least}-{most}"
