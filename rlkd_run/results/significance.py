"""What the seeds can tell: is a number of the literature one of them, and is RLKD better than another temperature."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from rlkd_run.results.aggregate import Cell, Select, Spread
from rlkd_run.results.paper_recipe import Deviation
from rlkd_run.results.pools import Partners, Pool, partners, pools

CONFIDENCE = 0.95
NO_SPREAD = 1e-9
"""Points of top-1: less is rounding. Seeds that agree by chance tell nothing of how far seeds spread."""
ENOUGH_SEEDS = 5
"""With fewer seeds a pair a comparison is shown and said to be too small."""


def beyond_seeds(spread: Spread, value: float) -> bool:
    """Whether `value`, the accuracy of a single run, lies outside the 95 % prediction interval of one more seed.

    The interval is mean ± t·std·√(1 + 1/n), t with n - 1 degrees of freedom. A single seed has none, nor have seeds
    that all scored the same: False.
    """
    if spread.std is None or spread.std < NO_SPREAD:
        return False
    half = _quantile(spread.n - 1) * spread.std * math.sqrt(1 + 1 / spread.n)
    return abs(value - spread.mean) > half


@dataclass(frozen=True)
class Comparison:
    """RLKD against another temperature under one base method: runs of equal seed that differ in nothing else.

    Attributes:
        dataset, method, epochs: of all of its runs.
        treatment, baseline: the two temperatures as a table names them.
        settings: `key=value` of what tells the runs from those of other rows.
        deviations: where any of the runs leaves the recipe of the literature.
        pairs: the networks over which the difference is pooled, in the paper's order.
        select: which epoch's top-1 is compared.
        partners: the runs that are compared, two and two.
        unpaired: number of runs of either temperature that have no partner.
        seeds: partners of the pair that has fewest.
        mean: mean over the pairs of the mean difference of each, in points of top-1.
        half_width: of the 95 % interval around `mean`; None where a pair has one seed only, or nothing spreads.
        p: two-sided probability of such a mean or a larger one if the temperatures were equally good; None likewise.
    """

    dataset: str
    method: str
    epochs: int
    treatment: str
    baseline: str
    settings: tuple[str, ...]
    deviations: tuple[Deviation, ...]
    pairs: tuple[str, ...]
    select: Select
    partners: tuple[Partners, ...]
    unpaired: int
    seeds: int
    mean: float
    half_width: float | None
    p: float | None

    @property
    def too_small(self) -> bool:
        """Whether there are too few seeds to conclude anything."""
        return self.seeds < ENOUGH_SEEDS


def comparisons(cells: Sequence[Cell]) -> list[Comparison]:
    """Compare every RLKD with fixed and with random temperatures, pooled over pairs.

    The last epoch comes first: the best one is chosen by the test set, which favours a temperature under which accuracy
    varies more from epoch to epoch.

    Args:
        cells: distilled students, in the order of the tables.

    Returns:
        One for each epoch of a data set, method, length, setting and two temperatures of which some pair has partners.
    """
    selects: tuple[Select, ...] = ("last", "best")
    return [_compare(pool, select) for pool in pools(cells) for select in selects]


def _compare(pool: Pool, select: Select) -> Comparison:
    matched = [partners(match) for match in pool.matches]
    blocks = [[getattr(one.top1, select) - getattr(other.top1, select) for one, other in runs] for runs in matched]
    mean, half_width, p = paired_test(blocks)
    first = pool.matches[0][0].first
    assert first.method is not None
    return Comparison(
        dataset=first.dataset,
        method=first.method,
        epochs=first.epochs,
        treatment=pool.treatment,
        baseline=pool.baseline,
        settings=pool.settings,
        deviations=pool.deviations,
        pairs=tuple(dict.fromkeys(treatment.first.pair for treatment, _ in pool.matches)),
        select=select,
        partners=tuple(two for runs in matched for two in runs),
        unpaired=sum(cell.n for match in pool.matches for cell in match) - 2 * sum(map(len, matched)),
        seeds=min(map(len, blocks)),
        mean=mean,
        half_width=half_width,
        p=p,
    )


def paired_test(blocks: Sequence[Sequence[float]]) -> tuple[float, float | None, float | None]:
    """Test whether differences are zero in the mean over blocks, by Student's t.

    Each block (a pair of networks) has a mean and a variance of its own; the degrees of freedom are those of
    Satterthwaite (Biometrics Bulletin 2, 1946) and Welch (Biometrika 34, 1947). With one block this is the paired
    t-test.

    Args:
        blocks: differences between runs of equal seed, at least one block and at least one in each.

    Returns:
        The mean of the blocks' means, half the width of its 95 % interval, and the two-sided p; the last two are None
        where a block has one difference only, and where those in each block are equal.
    """
    mean = statistics.fmean(map(statistics.fmean, blocks))
    if min(map(len, blocks)) < 2:
        return mean, None, None
    squares = [statistics.variance(block) / len(block) for block in blocks]  # standard errors of the blocks' means
    error = math.sqrt(sum(squares)) / len(blocks)
    if error < NO_SPREAD:
        return mean, None, None
    freedom = sum(squares) ** 2 / sum(
        square**2 / (len(block) - 1) for square, block in zip(squares, blocks, strict=True)
    )
    from scipy.special import stdtr

    return mean, _quantile(freedom) * error, float(2 * stdtr(freedom, -abs(mean) / error))


def _quantile(freedom: float) -> float:
    """What a t-distributed number exceeds, to either side, with the probability that `CONFIDENCE` leaves."""
    from scipy.special import stdtrit  # takes as long to import as all else that a table needs

    return float(stdtrit(freedom, (1 + CONFIDENCE) / 2))
