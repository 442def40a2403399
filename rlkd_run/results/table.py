"""A table as data. How its rows come about is told by the layouts, how it looks by `markdown`, `latex` and `page`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

Item = TypeVar("Item")


@dataclass(frozen=True)
class Head:
    """The head of a column.

    Attributes:
        text: what stands there.
        right: whether what is below is flush right.
        broken: the same text in several lines, where a form has room below and none beside; empty: it stays in one.
    """

    text: str
    right: bool = False
    broken: tuple[str, ...] = ()


@dataclass(frozen=True)
class Row:
    """One text a column.

    Attributes:
        texts: empty where nothing was run or nothing is reported.
        belongs: whether the row tells more about the one above it, such as the paper's number.
        ruled: whether a line is drawn above it.
    """

    texts: tuple[str, ...]
    belongs: bool = False
    ruled: bool = False


@dataclass(frozen=True)
class Table:
    """Heads, rows, and the sentences without which the numbers say nothing.

    Attributes:
        caption: one sentence or a few a line.
        title: above the table; may be empty.
        sortable: whether each row stands alone, so that any order of them is as good. What the rows say does not tell:
            a layout may lack the rows that belong to others and still have an order of its own.
        spread: whether every column but the first is about another thing of one kind, such as a pair of networks, so
            that some of them make a table as well.
    """

    heads: tuple[Head, ...]
    rows: tuple[Row, ...]
    caption: tuple[str, ...]
    title: str = ""
    sortable: bool = False
    spread: bool = False


@dataclass(frozen=True)
class Column(Generic[Item]):
    """A column of a table with one row an item: its head, its text for an item, and whether it is flush right."""

    head: str
    text: Callable[[Item], str]
    right: bool = False


def table_of(columns: Iterable[Column[Item]], items: Iterable[Item], caption: Iterable[str], title: str = "") -> Table:
    """Make a table with one row an item, each of which stands alone."""
    columns = list(columns)
    return Table(
        heads=tuple(Head(column.head, column.right) for column in columns),
        rows=tuple(Row(tuple(column.text(item) for column in columns)) for item in items),
        caption=tuple(caption),
        title=title,
        sortable=True,
    )
