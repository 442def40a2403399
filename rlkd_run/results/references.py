"""What stands above the methods in the layout of the paper: the teachers, and the students trained from labels."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from rlkd_run.flat import FlatConfig, shown
from rlkd_run.results.aggregate import Cell, Select
from rlkd_run.results.caption import DEVIATES
from rlkd_run.results.figures import signed, spread_text, teacher_text
from rlkd_run.results.records import Record
from rlkd_run.results.reported import Reported, reported_student, reported_teacher
from rlkd_run.results.settings import STUDENTS_RECIPE, settled
from rlkd_run.results.table import Row

Columns = Mapping[str, Sequence[Cell]]
"""Pair -> its distilled students; none where it was not run."""

_ALONE = "student alone"
_ALONE_TOLD = "Student alone: the same network trained from labels on the same data and under the same recipe."

_TRAINING = ("dataset.", "recipe.")  # groups of what a student is trained with, whoever teaches it

# Where a student leaves the recipe in these, its teacher need not: it is trained with values of its own.
_STUDENTS_GROUPS = ("temperature.", "agent.", "method.")
_STUDENTS_KEYS = STUDENTS_RECIPE | {"runtime.precision", "select_on_test"}


@dataclass(frozen=True)
class References:
    """What distilled students are held against.

    Attributes:
        rows: of the table.
        students: those found that were trained from labels.
        papers: the literature's numbers in `rows`.
        told: what the caption has to say of the rows.
    """

    rows: tuple[Row, ...]
    students: tuple[Cell, ...]
    papers: tuple[Reported, ...]
    told: str


def references(columns: Columns, alone: Sequence[Cell], dataset: str, select: Select) -> References:
    """Write teachers and students alone down, with what the paper prints for them.

    Args:
        columns: of the table, in order.
        alone: networks trained from labels, among which students may be found.
        dataset: of all of them.
        select: which epoch's top-1 of the students.
    """
    teachers = [_paper(pair, cells, "teacher", dataset) for pair, cells in columns.items()]
    rows = [Row(("teacher", *map(teacher_text, columns.values()))), *paper_row(teachers)]
    told = "Teacher: its accuracy as measured here."
    if any(teachers):
        differences = map(_teacher_difference, columns.values(), teachers)
        rows.append(Row(("Δ", *differences), belongs=True))
        told = "Teacher: its accuracy as measured here; Δ: that minus the paper's."
    found = _students(columns, alone)
    papers = [_paper(pair, cells, "student", dataset) for pair, cells in columns.items()]
    if found or any(papers):
        for label, students in (found or {_ALONE: [None] * len(columns)}).items():
            rows += [Row((label, *(measured_text(cell, select) for cell in students))), *paper_row(papers)]
        told += f" {_ALONE_TOLD}"
    return References(
        rows=tuple(rows),
        students=tuple(cell for students in found.values() for cell in students if cell is not None),
        papers=tuple(paper for paper in (*teachers, *papers) if paper is not None),
        told=told,
    )


def on_a_part(cells: Iterable[Cell]) -> bool:
    """Whether there are runs and none saw the whole test set, of which the paper's numbers are."""
    limits = [cell.first.config.get("dataset.test_limit") for cell in cells]
    return bool(limits) and None not in limits


def paper_row(papers: Sequence[Reported | None]) -> list[Row]:
    """The paper's numbers, if there are any."""
    numbers = ["" if paper is None else f"{paper.top1:.2f}" for paper in papers]
    return [Row(("paper", *numbers), belongs=True)] if any(numbers) else []


def measured_text(cell: Cell | None, select: Select) -> str:
    """`69.10 ± 0.20 (3)`, marked where it is not of the paper's recipe; empty where nothing was run."""
    if cell is None:
        return ""
    text = f"{spread_text(cell.top1(select))} ({cell.n})"
    return f"{text} {DEVIATES}" if cell.deviations else text


def _paper(pair: str, cells: Sequence[Cell], role: str, dataset: str) -> Reported | None:
    """What the paper prints for the teacher or the student of a pair alone."""
    if on_a_part(cells):
        return None
    if role == "teacher":
        return reported_teacher(cells[0].first.teacher if cells else pair.split("-")[0], dataset)
    return reported_student((cells[0].first.student or "") if cells else pair.split("-")[-1], dataset)


def _teacher_difference(cells: Sequence[Cell], paper: Reported | None) -> str:
    """Where all runs of a pair met the same teacher, its distance from the paper's."""
    measured_here = {record.teacher_top1 for cell in cells for record in cell.records}
    if paper is None or len(measured_here) != 1:
        return ""
    (top1,) = measured_here
    if top1 is None:
        return ""
    keys = {deviation.key for cell in cells for deviation in cell.deviations} - _STUDENTS_KEYS
    marked = any(not key.startswith(_STUDENTS_GROUPS) for key in keys)
    return f"{signed(top1 - paper.top1)} {DEVIATES}" if marked else signed(top1 - paper.top1)


def _students(columns: Columns, alone: Sequence[Cell]) -> dict[str, list[Cell | None]]:
    """The students trained from labels by the label of their row: one for every training that the rows below name."""
    found = {}
    for settings in dict.fromkeys(_of_training(cell) for cells in columns.values() for cell in cells):
        students = [
            _trained_alone([cell for cell in cells if _of_training(cell) == settings], alone)
            for cells in columns.values()
        ]
        if any(students):
            found[f"{_ALONE} ({', '.join(settings)})" if settings else _ALONE] = students
    return found


def _of_training(cell: Cell) -> tuple[str, ...]:
    return tuple(setting for setting in cell.settings if setting.startswith(_TRAINING))


def _trained_alone(cells: Sequence[Cell], alone: Sequence[Cell]) -> Cell | None:
    """The student of a pair trained from labels as it was distilled, if there is such a run."""
    wanted = [(cell.first.student, _training(cell.first)) for cell in cells]
    same = [
        cell
        for cell in alone
        if cell.first.config.get("teacher.objective") in (None, "labels")
        and (cell.first.teacher, _training(cell.first)) in wanted
    ]
    return same[0] if same else None  # the first deviates least from the paper's recipe


def _training(record: Record) -> tuple[object, ...]:
    """Images, recipe and start of the network that was trained; a teacher's recipe is the run's with its own."""
    config = settled(record.config)
    images, recipe = (_group(config, prefix) for prefix in _TRAINING)
    if record.student is None:
        recipe |= _group(config, "teacher.recipe.")
    recipe["epochs"] = shown(record.epochs)
    started = record.config.get(f"{'teacher' if record.student is None else 'student'}.pretrained") or False
    return (record.dataset, record.place, images, recipe, started)


def _group(config: FlatConfig, prefix: str) -> dict[str, str]:
    return {key.removeprefix(prefix): shown(value) for key, value in config.items() if key.startswith(prefix)}
