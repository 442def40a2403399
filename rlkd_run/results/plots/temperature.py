"""The temperatures of a run: over epochs, by class, and against the student's uncertainty."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rlkd_run.results.aggregate import Cell
from rlkd_run.results.epochs import Epochs
from rlkd_run.results.notices import Tell
from rlkd_run.results.plots.figure import labels, legend, legends, over_epochs, panels, title
from rlkd_run.results.plots.seeds import Numbers, common_epochs, curve, metrics, temperatures

_FINE = 60  # parts of the temperature axis
_FEWEST = 10  # instances behind a point
_SHOWN_EPOCHS = 5


def temperature_maps(cells: Sequence[Cell], tell: Tell) -> Figure:
    """How the temperature is spread over the instances, epoch by epoch; a panel a cell.

    Runs without `temperatures.csv` show mean, standard deviation, least and most.
    """
    figure, grid = panels(len(cells))
    for cell, label, axes in zip(cells, labels(cells), grid, strict=True):
        profiles = temperatures(cell, tell)
        runs = profiles or metrics(cell, tell)
        draw = _heat_map if profiles else _bands
        draw(axes, runs)
        over_epochs(axes, title(cell, label, len(runs)), "temperature")
    legend(figure)
    return figure


def class_maps(cells: Sequence[Cell], tell: Tell) -> Figure:
    """Mean temperature of every class, epoch by epoch, over the seeds; a panel a cell with `temperatures.csv`."""
    figure, grid = panels(len(cells), height=2.4)
    runs = [temperatures(cell, tell) for cell in cells]
    tables = list(map(_by_class, runs))
    known = np.concatenate([table[np.isfinite(table)] for _, table in tables])
    low, high = (known.min(), known.max()) if len(known) else (None, None)
    for cell, label, axes, profiles, (epochs, table) in zip(cells, labels(cells), grid, runs, tables, strict=True):
        edges = np.append(epochs - 0.5, epochs[-1] + 0.5)
        image = axes.pcolormesh(edges, np.arange(len(table) + 1) - 0.5, table, vmin=low, vmax=high, rasterized=True)
        axes.grid(visible=False)
        over_epochs(axes, title(cell, label, len(profiles)), "class")
    figure.colorbar(image, ax=grid, label="mean temperature")
    return figure


def uncertainty_curves(cells: Sequence[Cell], tell: Tell) -> Figure:
    """Mean temperature of instances by the student's entropy, for some epochs; a panel a cell with the record."""
    figure, grid = panels(len(cells))
    shown: set[tuple[int, ...]] = set()
    for cell, label, axes in zip(cells, labels(cells), grid, strict=True):
        profiles = temperatures(cell, tell)
        epochs = common_epochs(profiles)
        chosen = [epochs[int(i)] for i in np.unique(np.linspace(0, len(epochs) - 1, _SHOWN_EPOCHS).round())]
        for i, epoch in enumerate(chosen):
            shade = str(0.75 * (1 - (i + 1) / len(chosen)))  # darker with time, on paper as well
            centres, means = _by_entropy(profiles, epoch)
            axes.plot(centres, means, marker="os^Dv"[i % 5], markersize=3, color=shade, label=f"epoch {epoch}")
        axes.set(title=title(cell, label, len(profiles)), xlabel="student's entropy / log C", ylabel="mean temperature")
        axes.set_xlim(0, 1)
        shown.add(tuple(chosen))
    if len(shown) > 1:
        legends(figure)
    else:
        legend(figure)
    return figure


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
    axes.plot(mean.epochs, mean.mean, color="black", label="mean")


def _by_class(profiles: Sequence[Epochs]) -> tuple[Numbers, Numbers]:
    """Epochs, and the mean temperature [classes, epochs] over seeds; NaN where there is none."""
    epochs = range(min(run.epochs[0] for run in profiles), max(run.epochs[-1] for run in profiles) + 1)
    classes = sorted(set().union(*(run.numbered("class") for run in profiles)))
    table = np.full((len(profiles), len(classes), len(epochs)), np.nan)
    for i, run in enumerate(profiles):
        for number, column in run.numbered("class").items():
            table[i, classes.index(number), [epoch - epochs[0] for epoch in run.epochs]] = column
    known = np.isfinite(table)
    total = np.where(known, table, 0).sum(axis=0)
    mean = np.divide(total, known.sum(axis=0), out=np.full(total.shape, np.nan), where=known.any(axis=0))
    return np.array(epochs, dtype=float), mean


def _by_entropy(profiles: Sequence[Epochs], epoch: int) -> tuple[list[float], list[float]]:
    """Middle of each tenth of the entropy with enough instances, and their mean temperature over all seeds."""
    sums: dict[int, float] = {}
    sizes: dict[int, float] = {}
    for run in profiles:
        i = run.epochs.index(epoch)
        means, counts = run.numbered("entropy"), run.numbered("entropy_count")
        for tenth, column in means.items():
            if tenth in counts and np.isfinite(column[i]) and np.isfinite(counts[tenth][i]):
                sums[tenth] = sums.get(tenth, 0.0) + column[i] * counts[tenth][i]
                sizes[tenth] = sizes.get(tenth, 0.0) + counts[tenth][i]
    tenths = sorted(tenth for tenth, size in sizes.items() if size >= _FEWEST)
    return [(tenth + 0.5) / 10 for tenth in tenths], [sums[tenth] / sizes[tenth] for tenth in tenths]
