"""The temperatures of a run: over epochs, by class, and against the student's uncertainty."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rlkd_run.results.aggregate import Cell
from rlkd_run.results.epochs import Epochs
from rlkd_run.results.notices import Tell
from rlkd_run.results.plots.figure import COLUMNS, labels, legend, legends, over_epochs, panels, title
from rlkd_run.results.plots.seeds import Numbers, common_epochs, curve, metrics, temperatures

_FINE = 60  # parts of the temperature axis
_FEWEST = 10  # instances behind a point
_SHOWN_EPOCHS = 5
_BAR = 20  # times as high as wide, for every row of panels: the scale of the colours


def temperature_maps(cells: Sequence[Cell], tell: Tell) -> Figure:
    """How the temperature is spread over the instances, epoch by epoch; a panel a cell.

    Runs without `temperatures.csv` show mean, standard deviation, least and most.
    """
    figure, grid = panels(len(cells))
    for cell, label, axes in zip(cells, labels(cells), grid, strict=True):
        profiles = list(temperatures(cell, tell).values())
        runs = profiles or metrics(cell, tell)
        draw = _heat_map if profiles else _bands
        draw(axes, runs)
        over_epochs(axes, title(cell, f"{label}, n={len(runs)}"), "temperature")
    legend(figure)
    return figure


# In the next two every seed has a panel: agents of two seeds may settle at opposite ends, and their mean at none.


def class_maps(cells: Sequence[Cell], tell: Tell) -> Figure:
    """Mean temperature of every class, epoch by epoch; a panel a run with `temperatures.csv`."""
    runs = list(_each_seed(cells, tell))
    figure, grid = panels(len(runs), height=2.4)
    tables = [_by_class(profile) for _, profile in runs]
    known = np.concatenate([table[np.isfinite(table)] for _, table in tables])
    low, high = (known.min(), known.max()) if len(known) else (None, None)
    for (words, _), axes, (epochs, table) in zip(runs, grid, tables, strict=True):
        edges = np.append(epochs - 0.5, epochs[-1] + 0.5)
        image = axes.pcolormesh(edges, np.arange(len(table) + 1) - 0.5, table, vmin=low, vmax=high, rasterized=True)
        axes.grid(visible=False)
        over_epochs(axes, words, "class")
    figure.colorbar(image, ax=grid, label="mean temperature", aspect=_BAR * math.ceil(len(runs) / COLUMNS))
    return figure


def uncertainty_curves(cells: Sequence[Cell], tell: Tell) -> Figure:
    """Mean temperature of instances by the student's entropy, for some epochs; a panel a run with the record."""
    runs = list(_each_seed(cells, tell))
    figure, grid = panels(len(runs))
    shown: set[tuple[int, ...]] = set()
    for (words, profile), axes in zip(runs, grid, strict=True):
        epochs = common_epochs([profile])
        chosen = [epochs[int(i)] for i in np.unique(np.linspace(0, len(epochs) - 1, _SHOWN_EPOCHS).round())]
        for i, epoch in enumerate(chosen):
            shade = str(0.75 * (1 - (i + 1) / len(chosen)))  # darker with time, on paper as well
            centres, means = _by_entropy(profile, epoch)
            axes.plot(centres, means, marker="os^Dv"[i % 5], markersize=3, color=shade, label=f"epoch {epoch}")
        axes.set(title=words, xlabel="student's entropy / log C", ylabel="mean temperature")
        axes.set_xlim(0, 1)
        shown.add(tuple(chosen))
    if len(shown) > 1:
        legends(figure)
    else:
        legend(figure)
    return figure


def _each_seed(cells: Sequence[Cell], tell: Tell) -> Iterator[tuple[str, Epochs]]:
    """The title of every run's panel, and its record."""
    for cell, label in zip(cells, labels(cells), strict=True):
        for seed, profile in temperatures(cell, tell).items():
            yield title(cell, f"{label}, seed {seed}"), profile


def _heat_map(axes: Axes, profiles: Sequence[Epochs]) -> None:
    low = min(min(run.columns["t_min"]) for run in profiles)
    high = max(max(run.columns["t_max"]) for run in profiles)
    edges = np.linspace(low, high, _FINE + 1)
    epochs = common_epochs(profiles)
    shares = np.full((_FINE, epochs[-1] - epochs[0] + 1), np.nan)  # an epoch without a spread stays white
    for epoch in epochs:
        shares[:, epoch - epochs[0]] = np.mean([_shares(run, epoch, edges) for run in profiles], axis=0)
    across = np.arange(epochs[0], epochs[-1] + 2) - 0.5
    # From 0, so that white is none and equal shares are no rounding of each other.
    image = axes.pcolormesh(across, edges, 100 * shares, vmin=0, cmap="Greys", rasterized=True)
    axes.grid(visible=False)
    axes.figure.colorbar(image, ax=axes, label="% of instances")


def _shares(run: Epochs, epoch: int, edges: Numbers) -> Numbers:
    """Share of the instances between neighbouring `edges`, from the 32 parts that the record holds."""
    i = run.epochs.index(epoch)
    counts = np.array([column[i] for _, column in sorted(run.numbered("histogram").items())])
    own = np.linspace(run.columns["t_min"][i], run.columns["t_max"][i], len(counts) + 1)
    below = np.concatenate([[0.0], np.cumsum(counts)]) / counts.sum()
    return np.diff(np.interp(edges, own, below))


def _bands(axes: Axes, runs: Sequence[Epochs]) -> None:
    mean, std, least, most = (curve(runs, f"t_{name}") for name in ("mean", "std", "min", "max"))
    if mean is None:
        return
    if least is not None and most is not None and len(least.mean) == len(most.mean):
        axes.fill_between(least.epochs, least.mean, most.mean, color="0.9", linewidth=0, label="least to most")
    if std is not None and len(std.mean) == len(mean.mean):
        low, high = mean.mean - std.mean, mean.mean + std.mean
        axes.fill_between(mean.epochs, low, high, color="0.7", linewidth=0, label="± std over instances")
    if len(runs) > 1:
        for run in (run for run in runs if "t_mean" in run.columns):
            axes.plot(run.epochs, run.columns["t_mean"], color="black", linewidth=0.5, linestyle=":", label="a seed")
    axes.plot(mean.epochs, mean.mean, color="black", label="mean over seeds" if len(runs) > 1 else "mean")


def _by_class(run: Epochs) -> tuple[Numbers, Numbers]:
    """Epochs without a gap, and the mean temperature [classes, epochs]; NaN where there is none."""
    epochs = np.arange(run.epochs[0], run.epochs[-1] + 1)
    columns = run.numbered("class")
    table = np.full((len(columns), len(epochs)), np.nan)
    for row, (_, column) in zip(table, sorted(columns.items()), strict=True):
        row[[epoch - run.epochs[0] for epoch in run.epochs]] = column
    return epochs.astype(float), table


def _by_entropy(run: Epochs, epoch: int) -> tuple[list[float], list[float]]:
    """Middle of each tenth of the entropy with enough instances, and their mean temperature."""
    i = run.epochs.index(epoch)
    means, counts = run.numbered("entropy"), run.numbered("entropy_count")
    # A count that is missing is no number, and so not enough.
    tenths = [n for n in sorted(means) if n in counts and counts[n][i] >= _FEWEST and np.isfinite(means[n][i])]
    return [(tenth + 0.5) / 10 for tenth in tenths], [means[tenth][i] for tenth in tenths]
