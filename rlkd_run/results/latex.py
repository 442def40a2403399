"""Tables -> LaTeX with booktabs rules, to be read in by a document that uses booktabs and graphicx."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import pairwise

from rlkd_run.results.table import Head, Table

_PREAMBLE = r"% Needs in the preamble: \usepackage{booktabs,graphicx}"

_SPECIAL = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "_": r"\_",
    "%": r"\%",
    "&": r"\&",
    "#": r"\#",
    "$": r"\$",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "[": "{[}",  # after \\ a bracket would be taken for an argument
    "]": "{]}",
    "`": "{}`",  # with a mark before it, it would be the Spanish one
    '"': "''",
    "±": r"$\pm$",
    "Δ": r"$\Delta$",
    "√": r"$\surd$",
    "·": r"$\cdot$",
    "†": r"\dag{}",
    "‡": r"\ddag{}",
    "«": r"$\ll$",
    "»": r"$\gg$",
    **dict.fromkeys("ÐÞðþ", "?"),
    "\n": " ",
}
_CHARACTERS, _LINES = 60, 40
"""Of a line of a caption, and of a page: about a fifth fewer than LaTeX sets, in whichever size of its type."""

_WIDEST = 100
"""Characters of a row, gaps between columns among them, that can still be read when they are shrunk to one line."""

_MINUS = re.compile(r"(?<![\w.}])-(?=\d)")
"""A hyphen that stands before a number, and after none and no name."""

_HYPHENS = re.compile(r"-(?=-)")
"""One of several, which would become a dash."""


def latex(tables: Iterable[Table]) -> str:
    """Write tables down, each as a `table` float that shrinks where it is wider than the text or higher than a page.

    A table with many columns of one kind becomes several floats, because nothing could be read in one.
    """
    return "\n\n".join([_PREAMBLE, *(_float(panel) for table in tables for panel in _panels(table))])


def escaped(text: str) -> str:
    """Text that LaTeX prints as it stands; what pdfTeX's fonts do not hold becomes a question mark."""
    signs = (_SPECIAL.get(sign, sign if sign.isprintable() and sign <= "ÿ" else "?") for sign in text)
    return _HYPHENS.sub("-{}", _MINUS.sub("$-$", "".join(signs)))


def _panels(table: Table) -> list[Table]:
    """The table, or its columns dealt out as evenly as can be to as few tables as are narrow enough.

    A first column that leaves no room, or a single other one that finds none, makes each of them wide; that is no
    reason to deal out more than there is room for in half a row.
    """
    columns = len(table.heads) - 1
    if not table.spread or columns < 2:
        return [table]
    label, *widths = [_width(table, column) for column in range(columns + 1)]
    room = max(_WIDEST - label, _WIDEST // 2, *widths)
    for panels in range(1, columns + 1):
        bounds = [1 + columns * panel // panels for panel in range(panels + 1)]
        if all(sum(widths[a - 1 : b - 1]) <= room for a, b in pairwise(bounds)):
            break
    return [_part(table, range(a, b), first=a == 1) for a, b in pairwise(bounds)]


def _width(table: Table, column: int) -> int:
    """Of a column, in characters, with the gap beside it."""
    head = table.heads[column]
    texts = [*(head.broken or [head.text]), *(row.texts[column] for row in table.rows)]
    return 2 + max(map(len, texts))


def _part(table: Table, columns: range, *, first: bool) -> Table:
    """Some columns beside the first; what the caption says of all of them is said once."""
    taken = [0, *columns]
    return replace(
        table,
        heads=tuple(table.heads[column] for column in taken),
        rows=tuple(replace(row, texts=tuple(row.texts[column] for column in taken)) for row in table.rows),
        caption=table.caption if first else ("The table before, continued: what its caption says holds here as well.",),
    )


def _float(table: Table) -> str:
    caption = _caption(table)
    room = _room(caption)
    alignment = "".join("r" if head.right else "l" for head in table.heads)
    lines = [
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{escaped(caption)}}}",
        r"\smallskip",
        rf"\resizebox*{{!}}{{\ifdim\totalheight>{room}{room}\else\totalheight\fi}}{{%",
        r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
        rf"\begin{{tabular}}{{{alignment}}}",
        r"\toprule",
        _line([_head(head) for head in table.heads]),
        r"\midrule",
    ]
    for row in table.rows:
        if row.ruled:
            lines.append(r"\midrule")
        first, *others = map(escaped, row.texts)
        lines.append(_line([rf"\quad {first}" if row.belongs else first, *others]))
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}}}", r"\end{table}"])


def _room(caption: str) -> str:
    """The height that a caption leaves on a page: nothing that needs no package tells it before the float is set."""
    return rf"{max(0.4, 0.95 - math.ceil(len(caption) / _CHARACTERS) / _LINES):.2f}\textheight"


def _caption(table: Table) -> str:
    title = [f"{table.title}."] if table.title else []
    return " ".join([*title, *table.caption])


def _head(head: Head) -> str:
    if not head.broken:
        return escaped(head.text)
    return r"\shortstack[r]{" + r" \\[1pt] ".join(map(escaped, head.broken)) + "}"


def _line(texts: Sequence[str]) -> str:
    return " & ".join(texts) + r" \\"
