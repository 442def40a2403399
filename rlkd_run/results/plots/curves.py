"""Learning curves, and what the agent notes of itself."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure

from rlkd_run.results.aggregate import Cell
from rlkd_run.results.notices import Tell
from rlkd_run.results.plots.figure import labels, legend, line_styles, over_epochs, panels
from rlkd_run.results.plots.seeds import Curve, curve, metrics, over_seeds

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
        over_epochs(axes, f"{pair}\n{over_seeds(drawn)}", "test top-1 (%)")
    legend(figure)
    return figure


def agent_curves(cells: Sequence[Cell], tell: Tell) -> Figure:
    """What the agent noted: a panel a quantity, a line a cell; points where it learnt."""
    figure, grid = panels(len(AGENT), height=_HEIGHT)
    drawn: dict[str, list[Curve]] = {column: [] for column in AGENT}
    several = len({cell.first.pair for cell in cells}) > 1
    for i, (cell, label) in enumerate(zip(cells, labels(cells), strict=True)):
        runs = metrics(cell, tell)
        name = f"{cell.first.pair}, {label}" if several else label
        for column, axes in zip(AGENT, grid, strict=True):
            found = curve(runs, column)
            if found is not None:
                style = ("-", "--", ":", "-.")[i // 10 % 4]
                found.draw(axes, color=f"C{i % 10}", linestyle=style, marker=".", markersize=3, label=name)
                drawn[column].append(found)
    for (column, words), axes in zip(AGENT.items(), grid, strict=True):
        over_epochs(axes, f"{words}\n{over_seeds(drawn[column])}")
    legend(figure)
    return figure
