"""What the seeds can tell: is a number of the literature one of them, and is RLKD better than another temperature."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from rlkd_run.results.aggregate import Cell, Select, Spread
from rlkd_run.results.paper_recipe import Deviation
from rlkd_run.results.pools import Pool, pools
from rlkd_run.results.student_t import quantile, two_sided

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
    half = quantile(CONFIDENCE, spread.n - 1) * spread.std * math.sqrt(1 + 1 / spread.n)
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
        seeds: shared seeds of the pair that has fewest.
        mean: mean over the pairs of the mean difference of each, in points of top-1.
        half_width: of the 95 % interval around `mean`; None where no pair has two seeds, or nothing spreads.
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
    seeds: int
    mean: float
    half_width: float | None
    p: float | None

    @property
    def too_small(self) -> bool:
        """Whether there are too few seeds to conclude anything."""
        return self.seeds < ENOUGH_SEEDS


def comparisons(cells: Sequence[Cell], select: Select) -> list[Comparison]:
    """Compare every RLKD with fixed and with random temperatures, pooled over pairs.

    Args:
        cells: distilled students, in the order of the tables.
        select: which epoch's top-1 is compared.

    Returns:
        One a data set, method, length, setting and two temperatures of which some pair has runs with equal seeds.
    """
    return [_compare(pool, select) for pool in pools(cells)]


def _compare(pool: Pool, select: Select) -> Comparison:
    blocks = [_differences(treatment, baseline, select) for treatment, baseline in pool.matches]
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
        seeds=min(map(len, blocks)),
        mean=mean,
        half_width=half_width,
        p=p,
    )


def paired_test(blocks: Sequence[Sequence[float]]) -> tuple[float, float | None, float | None]:
    """Test whether differences are zero in the mean over blocks, by Student's t.

    Each block (a pair of networks) has a mean of its own; the variance within blocks is taken to be the same. With one
    block this is the paired t-test.

    Args:
        blocks: differences between runs of equal seed, at least one block and at least one in each.

    Returns:
        The mean of the blocks' means, half the width of its 95 % interval, and the two-sided p; the last two are None
        where no block has two differences, and where those in each block are equal.
    """
    means = [statistics.fmean(block) for block in blocks]
    mean = statistics.fmean(means)
    freedom = sum(len(block) - 1 for block in blocks)
    if freedom == 0:
        return mean, None, None
    squares = sum((x - own) ** 2 for block, own in zip(blocks, means, strict=True) for x in block)
    error = math.sqrt(squares / freedom * sum(1 / len(block) for block in blocks)) / len(blocks)
    if error < NO_SPREAD:
        return mean, None, None
    return mean, quantile(CONFIDENCE, freedom) * error, two_sided(mean / error, freedom)


def _differences(treatment: Cell, baseline: Cell, select: Select) -> list[float]:
    other = {record.seed: record for record in baseline.records}
    return [
        getattr(record.top1, select) - getattr(other[record.seed].top1, select)
        for record in treatment.records
        if record.seed in other
    ]
