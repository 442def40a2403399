"""Learning curves, and what the agent notes of itself."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure

from rlkd_run.results.aggregate import Cell
from rlkd_run.results.notices import Tell
from rlkd_run.results.plots.figure import labels, legend, line_styles, over_epochs, pair_lines, panels
from rlkd_run.results.plots.seeds import curve, metrics, over_seeds

AGENT = {
    "agent_reward": "reward",
    "agent_actor_loss": "actor loss",
    "agent_critic_loss": "critic loss",
    "agent_calibration_loss": "calibration loss",
    "agent_calibration_trust": "reward variance explained",
    "agent_clip_fraction": "share clipped",
    "agent_action_std": "std of actions",
    "agent_saturated": "share of means at their bound",
}
"""Columns of metrics.csv and what they are."""

_SHARES = ("agent_calibration_trust", "agent_clip_fraction", "agent_saturated")

_HEIGHT = 1.95  # of a panel with two lines above it, in inches


def learning_curves(cells: Sequence[Cell], tell: Tell) -> Figure:
    """Test accuracy over epochs: a panel a pair, a line a temperature, a band over its seeds."""
    pairs = list(dict.fromkeys(cell.first.pair for cell in cells))
    names = labels(cells)
    styles = line_styles(names)
    figure, grid = panels(len(pairs), height=_HEIGHT)
    for pair, axes in zip(pairs, grid, strict=True):
        drawn = []
        for cell, name in zip(cells, names, strict=True):
            found = curve(metrics(cell, tell), "test_top1") if cell.first.pair == pair else None
            if found is not None:
                colour, style = styles[name]
                found.draw(axes, color=colour, linestyle=style, label=name)
                drawn.append(found)
        over_epochs(axes, f"{pair_lines(pair)}\n{over_seeds(drawn)}", "test top-1 (%)")
    legend(figure)
    return figure


def agent_curves(cells: Sequence[Cell], tell: Tell) -> Figure:
    """What the agent noted: a panel a quantity, a line a cell; points where it learnt."""
    several = len({cell.first.pair for cell in cells}) > 1
    names = [
        f"{cell.first.pair}, {label}" if several else label for cell, label in zip(cells, labels(cells), strict=True)
    ]
    runs = [metrics(cell, tell) for cell in cells]
    noted = {column: [curve(own, column) for own in runs] for column in AGENT}
    shown = {column: found for column, found in noted.items() if any(found)}
    styles = line_styles(names)
    figure, grid = panels(len(shown), height=_HEIGHT)
    for (column, found), axes in zip(shown.items(), grid, strict=True):
        for name, line in zip(names, found, strict=True):
            if line is not None:
                colour, style = styles[name]
                line.draw(axes, color=colour, linestyle=style, marker=".", markersize=3, label=name)
        if column in _SHARES:  # a standard deviation knows no bounds
            axes.set_ylim(max(axes.get_ylim()[0], -0.03), min(axes.get_ylim()[1], 1.03))
        over_epochs(axes, f"{AGENT[column]}\n{over_seeds([line for line in found if line is not None])}")
    legend(figure)
    return figure
