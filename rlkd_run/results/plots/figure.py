"""What all pictures share: size, type, colours, and how they are written."""

from __future__ import annotations

import io
import math
import textwrap
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from rlkd_run.results.aggregate import Cell

STYLE: dict[Any, Any] = {
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "0.9",
    "lines.linewidth": 1.2,
    "legend.frameon": False,
    "figure.constrained_layout.use": True,
    "image.cmap": "viridis",
    "text.parse_math": False,  # names and paths stand as they are, whatever dollars they hold
    "svg.hashsalt": "rlkd-run",  # equal records give equal files
}
_DPI = 200
_CHARACTER, _LINE = 0.065, 0.17  # width and height in inches
_BELOW = 4.2  # times the size of the type, from a panel to its legend: the numbers and the name of the axis
_LONGEST = 110  # characters of a label
_WIDE = 31  # characters of a panel's title
_SYMBOL = 10  # characters that line and distances beside a label of a legend take
COLUMNS = 3
"""Panels beside each other, which at their usual width fill the text of a page."""

# The colours of Okabe and Ito, which the colour-blind can tell apart; a line style each, so that a printer can too.
_KNOWN = {"fixed": ("#000000", "-"), "ctkd": ("#e69f00", "--"), "rlkd": ("#0072b2", "-"), "random": ("#999999", ":")}
_OTHERS = ("#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#b2a000")
_STYLES = ("-.", "--", "-", ":")


@dataclass(frozen=True)
class Picture:
    """A figure that is drawn when it is wanted.

    Attributes:
        name: of its files, without ending.
        title: what it shows, in a sentence.
        draw: makes the figure.
    """

    name: str
    title: str
    draw: Callable[[], Figure]

    def save(self, folder: Path) -> list[Path]:
        """Write it as PNG (200 dots an inch) and SVG.

        Raises:
            OSError: a file cannot be written.
        """
        files = []
        with _styled():
            figure = self.draw()
            for ending, options in (("png", {"dpi": _DPI}), ("svg", {"metadata": {"Date": None}})):
                files.append(folder / f"{self.name}.{ending}")
                figure.savefig(files[-1], **options)
        return files

    def svg(self) -> bytes:
        """The picture as SVG."""
        file = io.BytesIO()
        with _styled():
            self.draw().savefig(file, format="svg", metadata={"Date": None})
        return file.getvalue()


@contextmanager
def _styled() -> Iterator[None]:
    with mpl.rc_context(STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # of a name, which shows as a box
        yield


def panels(count: int, *, height: float = 1.8, beside: int = 0) -> tuple[Figure, list[Axes]]:
    """A figure of `count` panels in rows of at most three, each 2.2 and `height` inches.

    Args:
        count: at least one.
        height: of a panel, in inches.
        beside: characters that the names to the left of the first column need.
    """
    columns = min(count, COLUMNS)
    rows = math.ceil(count / columns)
    figure = Figure(figsize=(max(2.2 * columns, 3.4) + _CHARACTER * beside, height * rows + 0.5))
    axes = figure.subplots(rows, columns, squeeze=False).ravel().tolist()
    for unused in axes[count:]:
        unused.remove()
    return figure, axes[:count]


def line_styles(labels: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Colour and line style by the label of a cell: those of well-known temperatures are always the same.

    More than there are colours and styles for go from dark to light in the order of the labels.
    """
    names = list(dict.fromkeys(labels))
    free = [(_OTHERS[i % len(_OTHERS)], _STYLES[i % len(_STYLES)]) for i in range(len(_OTHERS) * len(_STYLES))]
    if len(names) > len(free):
        shades = mpl.colormaps["viridis"].resampled(len(names) + 2)  # whose lightest two hardly show on white
        free = [(to_hex(shades(i)), _STYLES[i % len(_STYLES)]) for i in range(len(names))]
    styles: dict[str, tuple[str, str]] = {}
    for text in names:
        known = _KNOWN.get(text)
        styles[text] = free[len(styles) % len(free)] if known is None else known
    return styles


def labels(cells: Sequence[Cell]) -> list[str]:
    """For each cell of a picture its temperature and its settings, without those that all of the picture have.

    A key is written by its last part where that is no other's: `fixed, value=4.0`. In place of more settings than a
    label has room for stands the cell's hash.
    """
    common = set.intersection(*(set(cell.settings) for cell in cells)) if cells else set()
    told = [[setting for setting in cell.settings if setting not in common] for cell in cells]
    keys = {setting.partition("=")[0] for settings in told for setting in settings}
    ends = Counter(map(_end, keys))
    found = []
    for cell, settings in zip(cells, told, strict=True):
        parts = [setting.partition("=") for setting in settings]
        words = [f"{_end(key) if ends[_end(key)] == 1 else key}={value}" for key, _, value in parts]
        text = ", ".join([cell.temperature, *words])
        found.append(text if len(text) <= _LONGEST else f"{cell.temperature}, cell={cell.first.cell}")
    return found


def _end(key: str) -> str:
    return key.rpartition(".")[2]


def title(cell: Cell, words: str) -> str:
    """Names the panel of a cell and what is in it, in lines that are no wider than it."""
    return f"{pair_lines(cell.first.pair)}\n{_wrapped(words)}"


def pair_lines(pair: str) -> str:
    """A pair in lines that are no wider than a panel, broken behind the teacher's name if it has to be."""
    teacher, hyphen, student = pair.partition("-")
    if len(pair) <= _WIDE or "-" in student:
        return _wrapped(pair)
    return f"{_wrapped(teacher + hyphen)}\n{_wrapped(student)}"


def _wrapped(text: str) -> str:
    return "\n".join(textwrap.wrap(text, _WIDE, break_long_words=True))


def over_epochs(axes: Axes, title: str, quantity: str = "") -> None:
    """Say that a panel's horizontal axis is epochs, which come in whole numbers."""
    axes.set(title=title, xlabel="epoch", ylabel=quantity)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=5))


def legend(figure: Figure) -> None:
    """One legend for all panels, below them, and a figure that is as wide as it; nothing where there are no labels."""
    entries = {}
    for axes in figure.axes:
        handles, labels = axes.get_legend_handles_labels()
        entries.update(dict(zip(labels, handles, strict=True)))
    if entries:
        widest = _CHARACTER * (_SYMBOL + max(map(len, entries)))
        figure.set_figwidth(max(figure.get_figwidth(), widest))
        columns = min(len(entries), int(figure.get_figwidth() / widest))
        figure.set_figheight(figure.get_figheight() + _LINE * (math.ceil(len(entries) / columns) - 1))
        figure.legend(entries.values(), entries.keys(), loc="outside lower center", ncols=columns)


def legends(figure: Figure) -> None:
    """A legend below every panel, in two columns: where the same line is of something else in each."""
    most = max(len(axes.get_legend_handles_labels()[1]) for axes in figure.axes)
    for axes in figure.axes:
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, 0), borderaxespad=_BELOW, ncols=2)
    rows = math.ceil(len(figure.axes) / COLUMNS)
    figure.set_figheight(figure.get_figheight() + _LINE * math.ceil(most / 2) * rows)
