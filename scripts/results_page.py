#!/usr/bin/env python3
"""Renew the tables of docs/results.md from the records under results/.

    python scripts/results_page.py

The page is written by hand but for what stands between two comments, which the first of them says how to make:

    <!-- rlkd-table results/table1 --whole -->      what that command prints
    <!-- metrics FOLDER COLUMN:FORMAT … -->         columns of a run's metrics.csv
    <!-- end -->

A test compares the page with what this script would write.
"""

from __future__ import annotations

import argparse
import io
import re
import shlex
from contextlib import redirect_stdout
from pathlib import Path

from rlkd_run.record import METRICS
from rlkd_run.results.cli import main as rlkd_table
from rlkd_run.results.epochs import read_epochs

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "results.md"
_BLOCK = re.compile(r"(<!-- (rlkd-table|metrics) (.*?) -->\n).*?(<!-- end -->)", re.DOTALL)


def table(arguments: list[str]) -> str:
    """What rlkd-table prints; that nothing was run, where there is no such folder."""
    if not any((ROOT / argument).is_dir() for argument in arguments):
        return "Nothing was run yet.\n"
    text = io.StringIO()
    with redirect_stdout(text):
        code = rlkd_table([str(ROOT / word) if (ROOT / word).is_dir() else word for word in arguments])
    if code:
        raise SystemExit(f"rlkd-table {shlex.join(arguments)} failed.")
    return text.getvalue()


def metrics(arguments: list[str]) -> str:
    """Columns of metrics.csv as a table."""
    folder, *columns = arguments
    epochs = read_epochs(ROOT / folder / METRICS)
    names, formats = zip(*(column.split(":") for column in columns), strict=True)
    lines = [" | ".join(["epoch", *(name.removeprefix("agent_").replace("_", " ") for name in names)])]
    lines.append(" | ".join(["---:"] * (len(names) + 1)))
    for i, epoch in enumerate(epochs.epochs):
        figures = [format(epochs.columns[name][i], form) for name, form in zip(names, formats, strict=True)]
        lines.append(" | ".join([str(epoch), *figures]))
    return "".join(f"| {line} |\n" for line in lines)


def page(text: str) -> str:
    """The page with every block made anew."""
    make = {"rlkd-table": table, "metrics": metrics}

    def renewed(found: re.Match[str]) -> str:
        begin, kind, arguments, end = found.groups()
        return f"{begin}\n{make[kind](shlex.split(arguments))}\n{end}"

    return _BLOCK.sub(renewed, text)


def main() -> None:
    """Write the page."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    PAGE.write_text(page(PAGE.read_text()))
    print(f"written   {PAGE}")


if __name__ == "__main__":
    main()
