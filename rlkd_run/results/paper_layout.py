"""The layout of the paper's tables: pairs in columns, methods in rows, and under each method its temperatures."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rlkd_run.results.aggregate import Cell, Select, paper_ranks
from rlkd_run.results.caption import DEVIATES, against_paper, measured, one_epoch
from rlkd_run.results.figures import signed, spread_text, teacher_text
from rlkd_run.results.list_layout import difference_text
from rlkd_run.results.reported import (
    Reported,
    pair_order,
    reported,
    reported_student,
    reported_teacher,
    temperature_order,
)
from rlkd_run.results.table import Head, Row, Table

Line = tuple[str, str, tuple[str, ...]]
"""Method, temperature with the agent's preset, settings: what one row of measurements is about."""

_ALONE = "student alone"


def paper_table(
    cells: Sequence[Cell], select: Select, *, alone: Sequence[Cell] = (), whole: bool = False, title: str = ""
) -> Table:
    """Write the distilled students of one data set down; empty where nothing was run.

    Args:
        cells: at least one, all of one data set.
        select: which epoch's top-1.
        alone: networks trained from labels, among which students may be found.
        whole: show all pairs of the paper's tables, also those without a run.
        title: of the table.
    """
    dataset = cells[0].first.dataset
    pairs = _pairs(cells, dataset, whole=whole)
    table = {(_line(cell), cell.first.pair): cell for cell in cells}
    students = _alone(cells, alone, pairs)
    rows = [*_teachers(cells, pairs, dataset), *_alone_rows(cells, students, pairs, select)]
    method = ""
    for line in _lines(cells, pairs, dataset):
        group = [table.get((line, pair)) for pair in pairs]
        papers = [_reported(pair, line, dataset) for pair in pairs]
        rows += _rows(line, group, papers, select, ruled=line[0] != method)
        method = line[0]
    caption = [
        f"{measured(cells)} (n in brackets). {one_epoch(select)}",
        "The row of a method is at a fixed temperature; +ctkd, +rlkd and the like set it otherwise. "
        "Teacher: its accuracy as measured here.",
        *against_paper(cells, select, beside=[cell for cell in students if cell is not None]),
    ]
    if any(row.texts[0] == _ALONE for row in rows):
        caption[1] += f" {_ALONE[0].upper()}{_ALONE[1:]}: the same network trained from labels for as many epochs."
    heads = [Head("method"), *(Head(pair, right=True, broken=_broken(pair)) for pair in pairs)]
    return Table(tuple(heads), tuple(rows), tuple(caption), title)


def _pairs(cells: Sequence[Cell], dataset: str, *, whole: bool) -> list[str]:
    run = dict.fromkeys(cell.first.pair for cell in cells)
    papers = pair_order(dataset)
    return [*papers, *(pair for pair in run if pair not in papers)] if whole else list(run)


def _broken(pair: str) -> tuple[str, ...]:
    """A pair in two lines, where its name says unmistakably where the teacher's ends."""
    return tuple(pair.split("-")) if pair.count("-") == 1 else ()


def _line(cell: Cell) -> Line:
    return (cell.first.method or "", cell.temperature, cell.settings)


def _lines(cells: Sequence[Cell], pairs: Sequence[str], dataset: str) -> list[Line]:
    """Every line that was run, and those of the paper under the same methods."""
    lines = dict.fromkeys(_line(cell) for cell in cells)
    run = {(method, temperature) for method, temperature, _ in lines}
    for method in dict.fromkeys(method for method, _ in run):
        for temperature in temperature_order():
            known = any(reported(pair, method, temperature, dataset) for pair in pairs)
            if known and (method, temperature) not in run:
                lines[method, temperature, ()] = None
    return sorted(lines, key=lambda line: (*paper_ranks(line[0], line[1]), line[2]))


def _reported(pair: str, line: Line, dataset: str) -> Reported | None:
    return reported(pair, line[0], line[1].split(" ")[0], dataset)


def _rows(
    line: Line, group: Sequence[Cell | None], papers: Sequence[Reported | None], select: Select, *, ruled: bool
) -> list[Row]:
    method, temperature, settings = line
    label = method if temperature == "fixed" else f"+{temperature}"
    label += f" ({', '.join(settings)})" if settings else ""
    rows = [Row((label, *(_measured(cell, select) for cell in group)), ruled=ruled)]
    if any(papers):
        numbers = ["" if paper is None else f"{paper.top1:.2f}" for paper in papers]
        rows.append(Row(("paper", *numbers), belongs=True))
    differences = _texts(group, lambda cell: difference_text(cell, select))
    if any(differences):
        rows.append(Row(("Δ", *differences), belongs=True))
    return rows


def _measured(cell: Cell | None, select: Select) -> str:
    if cell is None:
        return ""
    text = f"{spread_text(cell.top1(select))} ({cell.n})"
    return f"{text} {DEVIATES}" if cell.deviations else text


def _texts(group: Sequence[Cell | None], text: Callable[[Cell], str]) -> list[str]:
    return ["" if cell is None else text(cell) for cell in group]


def _teachers(cells: Sequence[Cell], pairs: Sequence[str], dataset: str) -> list[Row]:
    """The teachers' accuracy, and what the paper prints for them."""
    of_pair = {pair: [cell for cell in cells if cell.first.pair == pair] for pair in pairs}
    rows = [Row(("teacher", *(teacher_text(of_pair[pair]) for pair in pairs)))]
    names = {pair: own[0].first.teacher if own else pair.split("-")[0] for pair, own in of_pair.items()}
    papers = {pair: reported_teacher(names[pair], dataset) for pair in pairs}
    numbers = ["" if paper is None else f"{paper.top1:.2f}" for paper in papers.values()]
    if any(numbers):
        rows.append(Row(("paper", *numbers), belongs=True))
        rows.append(Row(("Δ", *(_teacher_difference(of_pair[pair], papers[pair]) for pair in pairs)), belongs=True))
    return rows


def _teacher_difference(cells: Sequence[Cell], paper: Reported | None) -> str:
    """Where all runs of a pair met the same teacher, its distance from the paper's."""
    measured_here = {record.teacher_top1 for cell in cells for record in cell.records}
    if paper is None or len(measured_here) != 1:
        return ""
    (top1,) = measured_here
    return "" if top1 is None else signed(top1 - paper.top1)


def _alone(cells: Sequence[Cell], alone: Sequence[Cell], pairs: Sequence[str]) -> list[Cell | None]:
    """For every pair its student trained from labels for as long as it was distilled, if there is such a run."""
    found: list[Cell | None] = []
    for pair in pairs:
        wanted = {(c.first.dataset, c.first.student, c.first.epochs) for c in cells if c.first.pair == pair}
        same = [cell for cell in alone if (cell.first.dataset, cell.first.teacher, cell.first.epochs) in wanted]
        found.append(same[0] if same else None)  # the first deviates least from the paper's recipe
    return found


def _alone_rows(
    cells: Sequence[Cell], students: Sequence[Cell | None], pairs: Sequence[str], select: Select
) -> list[Row]:
    """The students without a teacher, and what the paper prints for them."""
    names = {cell.first.pair: cell.first.student or "" for cell in cells}
    dataset = cells[0].first.dataset
    papers = [reported_student(names.get(pair) or pair.split("-")[-1], dataset) for pair in pairs]
    numbers = ["" if paper is None else f"{paper.top1:.2f}" for paper in papers]
    rows = [Row((_ALONE, *(_measured(cell, select) for cell in students)))] if any(students) or any(numbers) else []
    return [*rows, Row(("paper", *numbers), belongs=True)] if any(numbers) else rows
