"""The layout of the paper's tables: pairs in columns, methods in rows, and under each method its temperatures."""

from __future__ import annotations

from collections.abc import Sequence

from rlkd_run.results.aggregate import Cell, Select, natural, paper_ranks
from rlkd_run.results.caption import against_paper, measured, one_epoch
from rlkd_run.results.list_layout import difference_text
from rlkd_run.results.references import Columns, measured_text, on_a_part, paper_row, references
from rlkd_run.results.reported import Reported, pair_order, reported, temperature_order
from rlkd_run.results.settings import beyond_networks, differing
from rlkd_run.results.table import Head, Row, Table
from rlkd_run.words import listed

Line = tuple[str, str, tuple[str, ...]]
"""Method, temperature with the agent's preset, settings: what one row of measurements is about."""


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
    columns = {pair: [cell for cell in cells if cell.first.pair == pair] for pair in pairs}
    above = references(columns, alone, dataset, select)
    rows, papers, unlike = list(above.rows), list(above.papers), []
    method = ""
    # The paper's number stands beside what was measured, and once where nothing was: not under every setting.
    printed = {_place(cell.first.pair, _line(cell)) for cell in cells}
    for line in _lines(cells, pairs, dataset):
        group = [next((cell for cell in own if _line(cell) == line), None) for own in columns.values()]
        places = [_place(pair, line) for pair in pairs]
        numbers = [
            None if cell is None and place in printed else paper
            for cell, place, paper in zip(group, places, _reported(columns, line, dataset), strict=True)
        ]
        printed.update(places)
        leads = line[0] != method
        rows += _rows(_label(line, leads=leads), group, numbers, select, ruled=leads)
        papers += [paper for paper in numbers if paper is not None]
        if keys := _unlike(group):
            unlike.append(f"{_label(line, leads=True)} in {listed(keys)}")
        method = line[0]
    caption = [
        f"{measured(cells)} (n in brackets). {one_epoch(select)}",
        f"The row of a method is at a fixed temperature; +ctkd, +rlkd and the like set it otherwise. {above.told}",
    ]
    if unlike:
        caption.append(
            f"Within a row, the runs of different pairs differ in more than the networks: {'; '.join(unlike)}."
        )
    caption += against_paper(cells, select, papers, beside=above.students)
    heads = [Head("method"), *(Head(pair, right=True, broken=_broken(pair)) for pair in pairs)]
    return Table(tuple(heads), tuple(rows), tuple(caption), title, spread=True)


def _pairs(cells: Sequence[Cell], dataset: str, *, whole: bool) -> list[str]:
    run = dict.fromkeys(cell.first.pair for cell in cells)
    papers = pair_order(dataset)
    return [*papers, *(pair for pair in run if pair not in papers)] if whole else list(run)


def _broken(pair: str) -> tuple[str, ...]:
    """A pair in two lines, where its name says unmistakably where the teacher's ends."""
    return tuple(pair.split("-")) if pair.count("-") == 1 else ()


def _line(cell: Cell) -> Line:
    return (cell.first.method or "", cell.temperature, cell.settings)


def _place(pair: str, line: Line) -> tuple[str, str, str]:
    """What a number of the paper is about: it knows neither presets of the agent nor settings."""
    method, temperature, _ = line
    return pair, method, temperature.split(" ")[0]


def _lines(cells: Sequence[Cell], pairs: Sequence[str], dataset: str) -> list[Line]:
    """Every line that was run, and those of the paper under the same methods."""
    lines = dict.fromkeys(_line(cell) for cell in cells)
    run = {(method, temperature) for method, temperature, _ in lines}
    for method in dict.fromkeys(method for method, _ in run):
        for temperature in temperature_order():
            known = any(reported(pair, method, temperature, dataset) for pair in pairs)
            if known and (method, temperature) not in run:
                lines[method, temperature, ()] = None
    return sorted(lines, key=lambda line: (*paper_ranks(line[0], line[1]), *map(natural, line[2])))


def _reported(columns: Columns, line: Line, dataset: str) -> list[Reported | None]:
    """For every pair what the paper prints for a line, unless there is nothing but runs on a part of the test set."""
    return [
        None
        if on_a_part([cell for cell in cells if _line(cell) == line] or cells)
        else reported(*_place(pair, line), dataset)
        for pair, cells in columns.items()
    ]


def _label(line: Line, *, leads: bool) -> str:
    """`kd`; `+rlkd` below another row of the method, and `kd +rlkd` where there is none above."""
    method, temperature, settings = line
    policy = f"{method} +{temperature}" if leads else f"+{temperature}"
    label = method if temperature == "fixed" else policy
    return f"{label} ({', '.join(settings)})" if settings else label


def _unlike(group: Sequence[Cell | None]) -> list[str]:
    """In which keys the cells of a row differ, but for the networks and what follows them."""
    return differing([beyond_networks(cell.first.config, cell.first.departures) for cell in group if cell is not None])


def _rows(
    label: str, group: Sequence[Cell | None], papers: Sequence[Reported | None], select: Select, *, ruled: bool
) -> list[Row]:
    rows = [Row((label, *(measured_text(cell, select) for cell in group)), ruled=ruled), *paper_row(papers)]
    differences = ["" if cell is None else difference_text(cell, select) for cell in group]
    if any(differences):
        rows.append(Row(("Δ", *differences), belongs=True))
    return rows
