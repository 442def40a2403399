"""Tables -> Markdown that also reads well in a terminal."""

from __future__ import annotations

from rlkd_run.results.table import Table


def markdown(table: Table) -> str:
    """Write a table down with its title above and its caption below; without a last newline."""
    parts = [_grid(table), "\n".join(table.caption)]
    return "\n\n".join([table.title, *parts] if table.title else parts)


def _grid(table: Table) -> str:
    rows = [[_escape(text) for text in row.texts] for row in table.rows]
    for row, texts in zip(table.rows, rows, strict=True):
        if row.belongs:
            texts[0] = f"  {texts[0]}"  # seen in a terminal, and ignored where Markdown is rendered
    lines: list[list[str]] = [[] for _ in range(len(rows) + 2)]
    for i, head in enumerate(table.heads):
        texts = [_escape(head.text), *(row[i] for row in rows)]
        width = max(3, *map(len, texts))
        aligned = [f"{text:>{width}}" if head.right else f"{text:<{width}}" for text in texts]
        rule = "-" * (width - 1) + ":" if head.right else "-" * width
        for line, text in zip(lines, [aligned[0], rule, *aligned[1:]], strict=True):
            line.append(text)
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _escape(text: str) -> str:
    """Keep a name from ending its table cell or line."""
    return " ".join(text.replace("|", "\\|").split("\n"))
