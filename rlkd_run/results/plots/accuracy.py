"""Measured accuracy beside the paper's."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from rlkd_run.results.aggregate import Cell, Select, paper_ranks
from rlkd_run.results.plots.figure import COLUMNS, labels, legend, pair_lines, panels

_MEASURED, _REPORTED = "#0072b2", "#d55e00"


def accuracy_dots(cells: Sequence[Cell], select: Select) -> Figure:
    """A panel a pair and a row a temperature: every seed, their mean with its deviation, and the paper's number.

    Args:
        cells: distilled students of one data set and method.
        select: which epoch's top-1; where the paper's is of another, or the runs of another recipe, it is not drawn.
    """
    pairs = list(dict.fromkeys(cell.first.pair for cell in cells))
    ordered = sorted(cells, key=lambda cell: paper_ranks(cell.first.method or "", cell.temperature))
    names = labels(ordered)
    rows = list(dict.fromkeys(names))
    mean = "mean ± std" if any(cell.n > 1 for cell in cells) else "mean"
    figure, grid = panels(len(pairs), height=0.7 + 0.18 * len(rows), beside=max(map(len, rows)))
    for i, (pair, axes) in enumerate(zip(pairs, grid, strict=True)):
        for cell, name in zip(ordered, names, strict=True):
            if cell.first.pair != pair:
                continue
            row, spread, paper = rows.index(name), cell.top1(select), cell.paper
            seeds = [getattr(record.top1, select) for record in cell.records]
            axes.plot(seeds, [row] * cell.n, "|", color="0.5", markersize=7, label="a seed")
            axes.errorbar(spread.mean, row, xerr=spread.std, fmt="o", color=_MEASURED, markersize=4, label=mean)
            if paper is not None and paper.is_comparable(select) and not cell.deviations:
                axes.plot(paper.top1, row, "D", color=_REPORTED, fillstyle="none", markersize=5, label="paper")
        axes.set(title=pair_lines(pair), xlabel=f"top-1, {select} epoch (%)", ylim=(len(rows) - 0.5, -0.5))
        axes.set_yticks(range(len(rows)), rows if i % COLUMNS == 0 else [""] * len(rows))
        axes.xaxis.set_major_locator(MaxNLocator(nbins=4))
    legend(figure)
    return figure
