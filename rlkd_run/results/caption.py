"""The sentences that the numbers of a table need."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rlkd_run.results.aggregate import Cell, Select
from rlkd_run.results.mixture import mixtures
from rlkd_run.results.paper_recipe import Deviation
from rlkd_run.results.reported import Reported
from rlkd_run.results.significance import beyond_seeds
from rlkd_run.words import listed

DEVIATES = "†"
"""Stands on rows that were not run under the paper's recipe."""

BEYOND = "‡"
"""Stands on differences that the seeds do not explain."""

_EPOCHS = {
    "best": "Best epoch: the highest test accuracy of all epochs, so it is chosen on the test set",
    "last": "last epoch: after the final one",
}


def several_datasets(cells: Sequence[Cell]) -> bool:
    """Whether a column or a table has to say which data set it is about."""
    return len({cell.first.dataset for cell in cells}) > 1


def is_beyond(cell: Cell, select: Select) -> bool:
    """Whether the paper's number is none that one more seed would be expected to give.

    Of runs under another recipe nobody would expect it: False.
    """
    paper = cell.paper
    if paper is None or cell.deviations:
        return False
    return paper.is_comparable(select) and beyond_seeds(cell.top1(select), paper.top1)


def measured(cells: Sequence[Cell]) -> str:
    """`Top-1 test accuracy on cifar100 in percent, mean ± …`, without a last full stop."""
    where = "" if several_datasets(cells) else f" on {cells[0].first.dataset}"
    spread = ", mean ± sample standard deviation over n seeds" if any(cell.n > 1 for cell in cells) else ""
    return f"Top-1 test accuracy{where} in percent{spread}"


def both_epochs(*, top5: Select | None) -> str:
    """What the columns of both epochs are, and of which epoch the column of top-5 is, if there is one."""
    added = {None: "", "best": ". Top-5: of the best epoch, chosen by top-1", "last": ". Top-5: of the last epoch"}
    return f"{_EPOCHS['best']}; {_EPOCHS['last']}{added[top5]}."


def one_epoch(select: Select) -> str:
    """What the only accuracy of a table is."""
    text = _EPOCHS[select]
    return f"{text[0].upper()}{text[1:]}."


def against_paper(
    cells: Sequence[Cell], select: Select, papers: Iterable[Reported], *, beside: Sequence[Cell] = ()
) -> list[str]:
    """Whose numbers the paper's are, how they are compared, what a mean mixes, and what the marks mean.

    Args:
        cells: with their differences.
        select: which epoch is compared.
        papers: every number of the literature that the table shows.
        beside: further cells, shown without a difference.
    """
    lines = []
    sources = _sources(papers)
    if any(cell.difference(select) is not None for cell in cells):
        lines.append(f"Paper: {sources}. Δ: {select} epoch minus paper, in points.")
    elif any(cell.paper is not None for cell in cells):
        lines.append(f"Paper: {sources}; the last epoch is not compared with a best one.")
    elif sources:
        lines.append(f"Paper: {sources}.")
    if any(is_beyond(cell, select) for cell in cells):
        lines.append(
            f"{BEYOND} More than the seeds explain: the paper's number lies outside the 95 % prediction interval of "
            "one more seed."
        )
    shown = (*cells, *beside)
    lines += mixtures("Runs behind one mean", [(cell.name, cell.records) for cell in shown])
    return lines + left_recipe(deviation for cell in shown for deviation in cell.deviations)


def _sources(papers: Iterable[Reported]) -> str:
    """Where numbers come from and of what they are; of which temperatures, where that is not the same for all."""
    temperatures: dict[str, dict[str, None]] = {}
    for paper in papers:
        source = temperatures.setdefault(f"{paper.source} ({paper.protocol})", {})
        source["no teacher" if paper.temperature is None else paper.temperature] = None
    if len({tuple(sorted(names)) for names in temperatures.values()}) <= 1:
        return listed(temperatures)
    return listed(f"{' and '.join(names)}: {source}" for source, names in temperatures.items())


def left_recipe(deviations: Iterable[Deviation]) -> list[str]:
    """What the mark on runs outside the paper's recipe means, and on those chosen by test accuracy without one."""
    values: dict[tuple[str, str], dict[str, None]] = {}
    chosen = False
    for deviation in deviations:
        if deviation.paper is None:
            chosen = True
        else:
            values.setdefault((deviation.key, deviation.paper), {})[deviation.value] = None
    lines = []
    if values:
        # `recipe.epochs=2 or 5 (paper 240), …` over all rows
        found = listed(f"{key}={' or '.join(own)} (paper {paper})" for (key, paper), own in values.items())
        lines.append(f"{DEVIATES} Not run under the paper's recipe, so not comparable with its numbers: {found}.")
    if chosen:
        lines.append(f"{DEVIATES} Chosen by test accuracy, which therefore estimates nothing: select_on_test=true.")
    return lines
