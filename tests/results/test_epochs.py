from __future__ import annotations

import math
from pathlib import Path

import pytest

from rlkd_run.results.epochs import NO_EPOCHS, read_epochs

WHOLE = "epoch,t_mean,class_0,class_10,class_x\n1,4.5,1,2,3\n2,,3,nan,5\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "metrics.csv"


def test_numbers_by_column(file: Path, told: list[str]) -> None:
    file.write_text(WHOLE)
    found = read_epochs(file, tell=told.append)
    assert found.epochs == (1, 2)
    assert found.columns["class_0"] == (1.0, 3.0)
    assert found.columns["t_mean"][0] == 4.5
    assert math.isnan(found.columns["t_mean"][1])
    assert set(found.numbered("class")) == {0, 10}
    assert told == []


def test_a_file_that_is_not_there_says_nothing(file: Path, told: list[str]) -> None:
    assert read_epochs(file, tell=told.append) == NO_EPOCHS
    assert told == []


def test_cut_off_anywhere_it_gives_its_whole_rows(file: Path, told: list[str]) -> None:
    for length in range(len(WHOLE)):
        file.write_text(WHOLE[:length])
        told.clear()
        found = read_epochs(file, tell=told.append)
        assert found.epochs in ((), (1,), (1, 2))
        assert len(told) <= 1
        assert len(found) == max(WHOLE[:length].count("\n") - 1, 0)
        if found.epochs:
            assert found.columns["class_x"][0] == 3.0


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "is skipped: it has no column epoch."),
        ("a,b\n1,2\n", "is skipped: it has no column epoch."),
        ("\x00\xff{", "is skipped: it has no column epoch."),
        ("epoch,a\n1,2\n2,x\n3,4\n", "is read up to line 2: the line after it is damaged."),
        ("epoch,a\n1,2\n1,2\n", "is read up to line 2: the line after it is damaged."),
        ("epoch,a\nnan,2\n", "is read up to line 1: the line after it is damaged."),
        ('epoch,a\n1,"2\n2,3\n', "is read up to line 1: the line after it is damaged."),
        ("epoch,a\n1,2,3\n", "is read up to line 1: the line after it is damaged."),
    ],
)
def test_damage_is_named(text: str, sentence: str, file: Path, told: list[str]) -> None:
    file.write_text(text, encoding="latin-1")
    found = read_epochs(file, tell=told.append)
    assert told == [f"{file} {sentence}"]
    assert len(found) <= 1


def test_a_file_that_cannot_be_read(file: Path, told: list[str]) -> None:
    file.mkdir()
    assert read_epochs(file, tell=told.append) == NO_EPOCHS
    assert told == [f"{file} is skipped: it cannot be read (Is a directory)."]
