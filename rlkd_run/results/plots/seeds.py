"""What the runs of a cell noted after every epoch, put together over its seeds."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes

from rlkd_run.record import METRICS, TEMPERATURES
from rlkd_run.results.aggregate import Cell
from rlkd_run.results.epochs import Epochs, read_epochs
from rlkd_run.results.notices import Tell
from rlkd_run.words import listed

Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Curve:
    """A number over epochs: mean and sample standard deviation over `n` seeds, the latter None for a single one."""

    epochs: Numbers
    mean: Numbers
    std: Numbers | None
    n: int

    def draw(self, axes: Axes, **options: Any) -> None:
        """The mean as a line, a standard deviation to either side as a band."""
        (line,) = axes.plot(self.epochs, self.mean, **options)
        if self.std is not None:
            low, high = self.mean - self.std, self.mean + self.std
            axes.fill_between(self.epochs, low, high, color=line.get_color(), alpha=0.2, linewidth=0)


def metrics(cell: Cell, tell: Tell) -> list[Epochs]:
    """`metrics.csv` of every run of a cell that has one."""
    return list(_read(cell, METRICS, tell).values())


def temperatures(cell: Cell, tell: Tell) -> dict[int, Epochs]:
    """By seed `temperatures.csv` of every run of a cell that has one; none unless some epoch is in all of them."""
    found = {seed: profile for seed, profile in _read(cell, TEMPERATURES, tell).items() if _has_spread(profile)}
    return found if common_epochs(list(found.values())) else {}


def common_epochs(runs: Sequence[Epochs]) -> list[int]:
    """The epochs that all of `runs` have, rising."""
    return sorted(set.intersection(*(set(run.epochs) for run in runs))) if runs else []


def curve(runs: Sequence[Epochs], name: str) -> Curve | None:
    """A column over the epochs in which every run has a finite number of it; None where there is no such epoch."""
    values = [
        {epoch: x for epoch, x in zip(run.epochs, run.columns[name], strict=True) if math.isfinite(x)}
        for run in runs
        if name in run.columns
    ]
    if not values:
        return None
    epochs = sorted(set.intersection(*(set(run) for run in values)))
    if not epochs:
        return None
    table = np.array([[run[epoch] for epoch in epochs] for run in values])
    std = table.std(axis=0, ddof=1) if len(values) > 1 else None
    return Curve(np.array(epochs, dtype=float), table.mean(axis=0), std, len(values))


def over_seeds(curves: Sequence[Curve]) -> str:
    """What lines and bands are: `mean ± std, n=3`; `n=2-3` where some are of fewer seeds."""
    counts = sorted({found.n for found in curves})
    n = f"n={'-'.join(map(str, dict.fromkeys((counts[0], counts[-1]))))}" if counts else ""
    return f"mean ± std, {n}" if any(found.std is not None for found in curves) else n


def _has_spread(profile: Epochs) -> bool:
    """Whether every epoch has a range of temperatures and instances in it."""
    least, most = (np.array(profile.columns.get(name, ())) for name in ("t_min", "t_max"))
    counts = np.array(list(profile.numbered("histogram").values()))
    if not len(least) or not len(most) or not len(counts) or not profile.numbered("class"):
        return False
    return bool((least < most).all() and (counts >= 0).all() and (counts.sum(axis=0) > 0).all())


def _read(cell: Cell, name: str, tell: Tell) -> dict[int, Epochs]:
    read = ((record.seed, read_epochs(record.folder / name, tell=tell)) for record in cell.records)
    found = {seed: epochs for seed, epochs in read if len(epochs)}
    missing = [str(record.folder) for record in cell.records if not os.path.exists(record.folder / name)]
    if found and missing:
        tell(f"There is no {name} in {listed(missing)}, so what is drawn from it is of the other seeds alone.")
    return found
