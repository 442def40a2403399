"""The whole way from folders to cells, for the command and for the end of a run."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

from rlkd_run.errors import ConfigError
from rlkd_run.results.aggregate import Cell, aggregate
from rlkd_run.results.csv_table import csv_table
from rlkd_run.results.notices import Tell, listed, tell_on_stderr
from rlkd_run.results.records import DISTILL, TRAIN_TEACHER, find_runs, read_records
from rlkd_run.results.table import students_table, teachers_table


@dataclass(frozen=True)
class Report:
    """What some folders hold: cells of distilled students and of trained teachers, each in the paper's order."""

    students: tuple[Cell, ...]
    teachers: tuple[Cell, ...]

    def markdown(self) -> str:
        """Write the students' table, then the teachers', each with its caption; without a last newline."""
        tables = [students_table(self.students)] if self.students else []
        tables += [teachers_table(self.teachers)] if self.teachers else []
        return "\n\n".join(tables)

    def csv(self) -> str:
        """Write all cells as one CSV, students before teachers."""
        return csv_table((*self.students, *self.teachers))


def read_report(folders: Sequence[str | os.PathLike[str]], *, tell: Tell = tell_on_stderr) -> Report:
    """Find the runs in `folders` and below, read and group them.

    Args:
        folders: run folders, or folders of them at any depth.
        tell: receives a sentence on everything that is left out of the tables.

    Raises:
        ConfigError: a folder is missing, or there is no finished run in any of them.
    """
    runs = find_runs(folders, tell=tell)
    records = read_records(runs, tell=tell)
    if not records:
        where = listed(str(folder) for folder in folders)
        raise ConfigError(f"No finished run in {where}." if runs else f"No run folder in {where} or below.")
    return Report(
        students=tuple(aggregate((r for r in records if r.task == DISTILL), tell=tell)),
        teachers=tuple(aggregate((r for r in records if r.task == TRAIN_TEACHER), tell=tell)),
    )


def table_for(folders: Sequence[str | os.PathLike[str]], *, tell: Tell = tell_on_stderr) -> str:
    """Return the Markdown tables of `folders`, as `rlkd-table` prints them.

    Raises:
        ConfigError: as `read_report`.
    """
    return read_report(folders, tell=tell).markdown()
