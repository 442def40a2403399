"""Whether RLKD is better than fixed and than random temperatures, as a table."""

from __future__ import annotations

from collections.abc import Sequence

from rlkd_run.results.caption import DEVIATES, left_recipe
from rlkd_run.results.figures import signed
from rlkd_run.results.mixture import mixtures
from rlkd_run.results.significance import ENOUGH_SEEDS, Comparison
from rlkd_run.results.table import Column, Table, table_of
from rlkd_run.words import counted


def comparison_table(comparisons: Sequence[Comparison], title: str = "") -> Table:
    """Write comparisons down, one row each.

    Args:
        comparisons: at least one.
        title: added to the table's own.
    """
    datasets, lengths = {one.dataset for one in comparisons}, {one.epochs for one in comparisons}
    any_settings = any(one.settings for one in comparisons)
    columns = [
        *([Column[Comparison]("data set", lambda one: one.dataset)] if len(datasets) > 1 else []),
        Column[Comparison]("method", lambda one: f"{one.method} {DEVIATES}" if one.deviations else one.method),
        *([Column[Comparison]("epochs", lambda one: str(one.epochs), right=True)] if len(lengths) > 1 else []),
        Column[Comparison]("compared", lambda one: f"{one.treatment} - {one.baseline}"),
        *([Column[Comparison]("settings", lambda one: ", ".join(one.settings))] if any_settings else []),
        Column[Comparison]("pairs", lambda one: str(len(one.pairs)), right=True),
        Column[Comparison]("seeds", lambda one: str(one.seeds), right=True),
        Column[Comparison]("epoch", lambda one: one.select),
        Column[Comparison]("difference", lambda one: signed(one.mean), right=True),
        Column[Comparison]("95 % interval", _interval, right=True),
        Column[Comparison]("p", _p, right=True),
        Column[Comparison]("remark", _remark),
    ]
    caption = [
        "Differences in top-1, in points, between runs of the same seed and teacher that differ in nothing but the "
        "temperature: mean over the pairs of networks that were run alike. Seeds: of the pair that has fewest. Last: "
        "after the final epoch; best: of the epoch with the highest test accuracy, which favours what varies more.",
        "Interval and two-sided p: Student's t on the paired differences, each pair with a mean and a variance of its "
        "own (Welch, Satterthwaite); not corrected for the number of comparisons.",
    ]
    if any(one.too_small for one in comparisons):
        caption.append(f"Too few seeds: below {ENOUGH_SEEDS}, which is too small to conclude anything.")
    caption += mixtures("Runs that are compared", [(_name(one), two) for one in comparisons for two in one.partners])
    caption += left_recipe(deviation for one in comparisons for deviation in one.deviations)
    own = "RLKD against other temperatures"
    return table_of(columns, comparisons, caption, f"{own}, {title}" if title else own)


def _name(one: Comparison) -> str:
    words = f"{one.dataset} {one.method} {one.treatment} - {one.baseline}"
    return f"{words} ({', '.join((f'recipe.epochs={one.epochs}', *one.settings))})"


def _remark(one: Comparison) -> str:
    remarks = {
        "too few seeds": one.too_small,
        "no spread": one.p is None and one.seeds > 1,
        f"{counted(one.unpaired, 'run')} without a partner": one.unpaired > 0,
    }
    return "; ".join(remark for remark, holds in remarks.items() if holds)


def _interval(one: Comparison) -> str:
    if one.half_width is None:
        return ""
    return f"{signed(one.mean - one.half_width)} to {signed(one.mean + one.half_width)}"


def _p(one: Comparison) -> str:
    return "" if one.p is None else "< 0.001" if one.p < 0.001 else f"{one.p:.3f}"
