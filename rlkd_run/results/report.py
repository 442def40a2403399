"""The whole way from folders to tables, for the command and for the end of a run."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from rlkd_run.errors import ConfigError
from rlkd_run.results.aggregate import Cell, Select, aggregate, natural
from rlkd_run.results.comparison_table import comparison_table
from rlkd_run.results.csv_table import csv_table
from rlkd_run.results.folders import find_runs
from rlkd_run.results.latex import latex
from rlkd_run.results.list_layout import students_list, teachers_list
from rlkd_run.results.markdown import markdown
from rlkd_run.results.notices import Tell, tell_on_stderr
from rlkd_run.results.page import page
from rlkd_run.results.paper_layout import paper_table
from rlkd_run.results.pools import tell_unmatched
from rlkd_run.results.records import DISTILL, TRAIN_TEACHER, Record, ended_early, read_records
from rlkd_run.results.selection import Condition, chosen, grouped
from rlkd_run.results.significance import comparisons
from rlkd_run.results.table import Table
from rlkd_run.words import counted, listed

if TYPE_CHECKING:  # matplotlib takes a second to import, and may be missing
    from rlkd_run.results.plots.figure import Picture

Layout = Literal["auto", "paper", "list"]


@dataclass(frozen=True)
class View:
    """What is asked of the runs that are found.

    Attributes:
        layout: `paper` has pairs in columns, `list` a row for every setting; `auto` takes `paper` for each data set
            with at least two pairs.
        select: which epoch is compared.
        whole: in the layout of the paper, show its pairs without a run as well.
        where: only runs that meet all of these.
        group_by: a key by whose values the tables are split.
    """

    layout: Layout = "auto"
    select: Select = "best"
    whole: bool = False
    where: tuple[Condition, ...] = ()
    group_by: str | None = None


@dataclass(frozen=True)
class Section:
    """Cells of distilled students and of trained teachers, each in the paper's order.

    Attributes:
        title: `key=value` of the group; empty where nothing is split.
    """

    students: tuple[Cell, ...]
    teachers: tuple[Cell, ...]
    title: str = ""

    def lists(self, select: Select) -> Iterator[Table]:
        """A row for every cell: students, then teachers."""
        if self.students:
            yield students_list(self.students, select, self.title)
        if self.teachers:
            yield teachers_list(self.teachers, select, self.title)


@dataclass(frozen=True)
class Report:
    """What some folders hold.

    Attributes:
        sections: one, or one a group.
        view: what was asked for.
        tell: receives a sentence on everything that a picture has to leave out.
        ended_early: number of runs that failed or stopped, by that state.
    """

    sections: tuple[Section, ...]
    view: View = field(default_factory=View)
    tell: Tell = tell_on_stderr
    ended_early: Mapping[str, int] = field(default_factory=dict)

    @property
    def cells(self) -> list[Cell]:
        """All cells, students before teachers in every section."""
        return [cell for section in self.sections for cell in (*section.students, *section.teachers)]

    def tables(self) -> list[Table]:
        """Of every section the students, what RLKD gains, and the teachers."""
        return [self._complete(table) for section in self.sections for table in self._of(section)]

    def markdown(self) -> str:
        """Write the tables in Markdown; without a last newline."""
        return "\n\n".join(map(markdown, self.tables()))

    def latex(self) -> str:
        """Write the tables in LaTeX; without a last newline."""
        return latex(self.tables())

    def csv(self) -> str:
        """Write all cells as one CSV."""
        groups = [section.title for section in self.sections for _ in (*section.students, *section.teachers)]
        return csv_table(self.cells, groups if self.view.group_by else None)

    def html(self) -> str:
        """Write everything on one page, with pictures if matplotlib is there; without a last newline."""
        tables = [table for table in self.tables() if not table.sortable]
        for section in self.sections:
            tables += map(self._complete, (*section.lists(self.view.select), *self.comparison(section)))
        try:
            images = [(picture.title, picture.svg()) for picture in self.pictures()]
        except ConfigError as missing:
            return page(tables, [], self.cells, str(missing))
        return page(tables, images, self.cells)

    def plots(self, folder: Path) -> list[Path]:
        """Write every picture as PNG and SVG into a folder, which is made if need be; returns the files.

        Raises:
            ConfigError: matplotlib is missing, or the folder cannot be written.
        """
        pictures = self.pictures()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            return [file for picture in pictures for file in picture.save(folder)]
        except OSError as error:
            raise ConfigError(f"Pictures cannot be written to {folder} ({error.strerror}).") from error

    def pictures(self) -> list[Picture]:
        """Every picture for which the runs left what it needs.

        Raises:
            ConfigError: matplotlib is missing.
        """
        try:
            from rlkd_run.results.plots.draw import pictures
        except ModuleNotFoundError as error:
            if (error.name or "").partition(".")[0] not in ("matplotlib", "numpy"):
                raise
            raise ConfigError("Pictures need matplotlib: pip install 'rlkd-run[plots]'.") from error
        found: dict[str, Picture] = {}
        for section in self.sections:
            for picture in pictures(section.students, self.view.select, group=section.title, tell=self.tell):
                # Groups whose values differ only in what a file's name cannot hold.
                number, name = 1, picture.name
                while name in found:
                    number += 1
                    name = f"{picture.name}_{number}"
                found[name] = replace(picture, name=name)
        return list(found.values())

    def comparison(self, section: Section) -> Iterator[Table]:
        """One table, if RLKD can be compared with anything."""
        found = comparisons(section.students)
        if found:
            yield comparison_table(found, section.title)

    def _complete(self, table: Table) -> Table:
        """With what its numbers lack: seeds that fail need not be like those that do not."""
        lacking = [f"{counted(count, 'run')} that {state}" for state, count in sorted(self.ended_early.items())]
        repeats = sum(cell.unlike_repeats for cell in self.cells)
        if repeats:
            lacking.append(f"{counted(repeats, 'run')} with another accuracy under the seed of one that is")
        if not lacking:
            return table
        return replace(table, caption=(*table.caption, f"In no mean: {listed(lacking)}, of all that were looked at."))

    def _of(self, section: Section) -> Iterator[Table]:
        view = self.view
        listed_students: list[Cell] = []
        for dataset in dict.fromkeys(cell.first.dataset for cell in section.students):
            cells = [cell for cell in section.students if cell.first.dataset == dataset]
            pairs = {cell.first.pair for cell in cells}
            if view.layout == "paper" or (view.layout == "auto" and (len(pairs) > 1 or view.whole)):
                yield paper_table(cells, view.select, alone=section.teachers, whole=view.whole, title=section.title)
            else:
                listed_students += cells
        yield from Section(tuple(listed_students), (), section.title).lists(view.select)
        yield from self.comparison(section)
        yield from Section((), section.teachers, section.title).lists(view.select)


def read_report(
    folders: Sequence[str | os.PathLike[str]], view: View | None = None, *, tell: Tell = tell_on_stderr
) -> Report:
    """Find the runs in `folders` and below, read and group them.

    Args:
        folders: run folders, or folders of them at any depth.
        view: which of them, and how.
        tell: receives a sentence or a list on everything that is left out of the tables.

    Raises:
        ConfigError: a folder is missing, there is no finished run in any of them, or `view` asks for what is not there.
    """
    view = View() if view is None else view
    runs = find_runs(folders, tell=tell)
    records = read_records(runs, below=Path(folders[0]) if len(folders) == 1 else None, tell=tell)
    if not records:
        where = listed(str(folder) for folder in folders)
        raise ConfigError(f"No finished run in {where}." if runs else f"No run folder in {where} or below.")
    early = ended_early(runs)
    records = chosen(records, view.where)
    if view.group_by is None:
        return Report((_section(records, "", tell),), view, tell, early)
    groups = grouped(records, view.group_by)
    titles = {value: f"{view.group_by}={value}" if value else f"without {view.group_by}" for value in groups}
    ordered = sorted(groups, key=natural)
    sections = tuple(_section(groups[value], titles[value], tell) for value in ordered)
    return Report(sections, view, tell, early)


def table_for(folders: Sequence[str | os.PathLike[str]]) -> str:
    """Return the Markdown tables of `folders`, as `rlkd-table` prints them.

    Raises:
        ConfigError: as `read_report`.
    """
    return read_report(folders).markdown()


def _section(records: Sequence[Record], title: str, tell: Tell) -> Section:
    students = aggregate((r for r in records if r.task == DISTILL), tell=tell)
    tell_unmatched(students, tell)
    return Section(
        students=tuple(students),
        teachers=tuple(aggregate((r for r in records if r.task == TRAIN_TEACHER), tell=tell)),
        title=title,
    )
