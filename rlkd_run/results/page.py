"""Everything about some runs on one HTML page, which needs no other file and no network."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape
from importlib.resources import files

from rlkd_run import __version__
from rlkd_run.flat import shown
from rlkd_run.results.aggregate import Cell
from rlkd_run.results.records import Record
from rlkd_run.results.table import Head, Row, Table
from rlkd_run.words import counted

# What the page may load: its own style, script and pictures; nothing from anywhere else.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"

Image = tuple[str, bytes]
"""What a picture shows, and the picture as SVG."""


def page(tables: Sequence[Table], images: Iterable[Image], cells: Sequence[Cell], note: str = "") -> str:
    """Write the page; without a last newline.

    Args:
        tables: in the order in which they are shown; those whose rows stand alone can be sorted.
        images: pictures.
        cells: whose configurations and environments are listed.
        note: said in place of pictures where there are none.
    """
    parts = [
        "<!doctype html>",
        '<html lang="en">',
        '<meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
        '<meta name="viewport" content="width=device-width">',
        "<title>rlkd-run: results</title>",
        f"<style>\n{_asset('page.css')}</style>",
        f"<h1>Results of {sum(cell.n for cell in cells)} runs</h1>",
        "<h2>Tables</h2>",
        *(_table(table) for table in tables),
        "<h2>Pictures</h2>",
        *_images(images, note),
        "<h2>Configurations</h2>",
        *(_configuration(cell) for cell in cells),
        "<h2>Environments</h2>",
        *_environments([record for cell in cells for record in cell.records]),
        f'<p class="caption">Written by rlkd-table {escape(__version__)}.</p>',
        f"<script>\n{_asset('page.js')}</script>",
        "</html>",
    ]
    return "\n".join(parts)


def _asset(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")


def _table(table: Table) -> str:
    heads = "".join(_head(head, sortable=table.sortable) for head in table.heads)
    rows = "\n".join(_row(row, table.heads) for row in table.rows)
    title = f"<h3>{escape(table.title)}</h3>\n" if table.title else ""
    kind = ' class="sortable"' if table.sortable else ""
    caption = "<br>".join(map(escape, table.caption))
    return (
        f'{title}<div class="wide"><table{kind}>\n<thead><tr>{heads}</tr></thead>\n<tbody>\n{rows}\n</tbody>\n'
        f'</table></div>\n<p class="caption">{caption}</p>'
    )


def _head(head: Head, *, sortable: bool) -> str:
    text = "<br>".join(map(escape, head.broken or (head.text,)))
    button = f'<button type="button">{text}</button>' if sortable else text
    return f'<th scope="col"{_side(head)}>{button}</th>'


def _row(row: Row, heads: Sequence[Head]) -> str:
    kinds = " ".join(name for name, holds in (("belongs", row.belongs), ("ruled", row.ruled)) if holds)
    cells = "".join(f"<td{_side(head)}>{escape(text)}</td>" for head, text in zip(heads, row.texts, strict=True))
    return f'<tr class="{kinds}">{cells}</tr>' if kinds else f"<tr>{cells}</tr>"


def _side(head: Head) -> str:
    return ' class="right"' if head.right else ""


def _images(images: Iterable[Image], note: str) -> Iterator[str]:
    drawn = False
    for title, svg in images:
        # As a picture of its own rather than a part of the page, so that names inside of two do not clash.
        source = "data:image/svg+xml;base64," + base64.b64encode(svg).decode()
        text = escape(title)
        yield f'<figure><img src="{source}" alt="{text}">\n<figcaption>{text}</figcaption></figure>'
        drawn = True
    if not drawn:
        yield f"<p>{escape(note or 'No run left what a picture needs.')}</p>"


def _configuration(cell: Cell) -> str:
    record = cell.first
    names = (record.dataset, record.pair, record.method, cell.temperature if record.temperature else None)
    what = ", ".join([*(name for name in names if name), *cell.settings])
    seeds = ", ".join(map(str, cell.seeds))
    return (
        f"<details><summary>{escape(what)} (seeds {seeds}; cell {escape(record.cell)})</summary>\n"
        f"{_keys({key: shown(value) for key, value in sorted(record.config.items()) if key != 'seed'})}</details>"
    )


def _environments(records: Sequence[Record]) -> Iterator[str]:
    """Every environment in which some of the runs took place, once."""
    groups: dict[tuple[tuple[str, str], ...], int] = {}
    for record in records:
        facts = tuple((key, shown(value)) for key, value in record.environment.items())
        groups[facts] = groups.get(facts, 0) + 1
    for facts, count in groups.items():
        about = _keys(dict(facts)) if facts else "<p>Not recorded.</p>"
        yield f"<details open><summary>{counted(count, 'run')}</summary>\n{about}</details>"


def _keys(values: Mapping[str, str]) -> str:
    rows = "\n".join(f"<tr><td>{escape(key)}</td><td>{escape(value)}</td></tr>" for key, value in values.items())
    return f'<div class="wide"><table><tbody>\n{rows}\n</tbody></table></div>'
