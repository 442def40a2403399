"""What a run noted after every epoch: `metrics.csv` and `temperatures.csv`, for the pictures."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rlkd_run.results.notices import Tell, tell_on_stderr


@dataclass(frozen=True)
class Epochs:
    """Rows of numbers, one an epoch.

    Attributes:
        epochs: rising, from 1.
        columns: name -> a number an epoch, NaN where the file has none.
    """

    epochs: tuple[int, ...]
    columns: Mapping[str, tuple[float, ...]]

    def __len__(self) -> int:
        return len(self.epochs)

    def numbered(self, name: str) -> dict[int, tuple[float, ...]]:
        """The columns `name_0`, `name_1`, … by their number."""
        numbers = {key: key.removeprefix(f"{name}_") for key in self.columns if key.startswith(f"{name}_")}
        return {int(number): self.columns[key] for key, number in numbers.items() if number.isdecimal()}


NO_EPOCHS = Epochs((), {})
_MOST = 100_000  # epochs; a larger number is damage, and would be a large picture


def read_epochs(file: Path, *, tell: Tell = tell_on_stderr) -> Epochs:
    """Read such a file; never fails for its sake.

    A row that is not whole (the last of a file that was cut off, say) ends what is read.

    Args:
        file: which one; one that does not exist is read as empty, in silence.
        tell: receives a sentence on a file that cannot be read, and on rows that are left out.
    """
    try:
        text = file.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return NO_EPOCHS
    except OSError as error:
        tell(f"{file} is skipped: it cannot be read ({error.strerror}).")
        return NO_EPOCHS
    # Numbers need no quotes, so that a comma is all there is to CSV here; what follows the last line's end is no line.
    *lines, rest = text.split("\n")
    names = lines[0].split(",") if lines else []
    if "epoch" not in names:
        tell(f"{file} is skipped: it has no column epoch.")
        return NO_EPOCHS
    rows: list[list[float]] = []
    for line in [*lines[1:], *([rest] if rest else [])]:
        row = _numbers(line.split(","), names, after=rows[-1][names.index("epoch")] if rows else 0.0)
        if row is None or line is rest:
            tell(f"{file} is read up to line {len(rows) + 1}: the line after it is damaged.")
            break
        rows.append(row)
    columns = {name: tuple(row[i] for row in rows) for i, name in enumerate(names)}
    return Epochs(tuple(map(int, columns.pop("epoch"))), columns)


def _numbers(row: Sequence[str], names: Sequence[str], *, after: float) -> list[float] | None:
    """The numbers of a row, NaN where there is none; None if it is damaged."""
    if len(row) != len(names):
        return None
    try:
        values = [float(text) if text else math.nan for text in row]
    except ValueError:
        return None
    epoch = values[names.index("epoch")]
    possible = epoch.is_integer() and after < epoch <= _MOST and not any(map(math.isinf, values))
    return values if possible else None
