from __future__ import annotations

import json
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rlkd_run.errors import ConfigError
from rlkd_run.files import beside
from rlkd_run.results.fields import RecordError
from rlkd_run.results.folders import find_runs
from rlkd_run.results.records import read_record, read_records, unusable
from rlkd_run.results.report import read_report

Make = Callable[..., dict[str, Any]]
Write = Callable[..., Path]


def test_reads_what_a_distillation_left(run_folder: Write, result: Make) -> None:
    top5 = {"student.top5.best": 91.0}  # of the epoch with the best top-1
    folder = run_folder("a", result(top5, temperature="rlkd", agent="paper", seed=3))
    record = read_record(folder)
    assert (record.pair, record.student, record.method, record.seed) == ("resnet56-resnet20", "resnet20", "kd", 3)
    assert (record.temperature, record.agent, record.cell) == ("rlkd", "paper", "9f8e7d6c")
    assert (record.top1.best, record.top1.last) == (71.0, 70.5)
    assert record.top5 is not None
    assert (record.top5.best, record.top5.last) == (91.0, 91.5)
    assert (record.teacher_top1, record.teacher_top5) == (72.5, 92.75)
    assert record.config["recipe.milestones"] == [150, 180, 210]


def test_reads_a_trained_teacher(run_folder: Write, teacher_result: Make) -> None:
    record = read_record(run_folder("a", teacher_result()))
    assert (record.pair, record.student, record.method, record.teacher_top1) == ("resnet56", None, None, None)
    assert (record.top1.best, record.top1.last, record.top5) == (72.5, 72.25, None)


def test_null_stands_for_a_figure_that_was_not_measured(run_folder: Write, result: Make) -> None:
    nothing = {"student.top5": None, "teacher.top5": None, "images_per_second": None, "wall_seconds": None}
    record = read_record(run_folder("a", result(nothing)))
    assert record.top5 is None
    assert (record.teacher_top5, record.images_per_second, record.wall_seconds) == (None, None, None)


def test_finds_runs_at_any_depth_once_and_in_order(run_folder: Write, result: Make, tmp_path: Path) -> None:
    names = ["b/seed0", "a/deep/er/seed0", "b/seed1", "c"]
    for name in names:
        run_folder(name, result())
    (tmp_path / "outputs" / "b" / "loop").symlink_to(tmp_path / "outputs", target_is_directory=True)
    (tmp_path / "outputs" / "self").symlink_to(tmp_path / "outputs" / "self")
    outputs = tmp_path / "outputs"
    assert find_runs([outputs, outputs / "b"]) == [outputs / name for name in sorted(names)]
    assert find_runs([outputs / "c", outputs]) == [outputs / name for name in ["c", *sorted(names)[:-1]]]


def test_what_a_killed_process_was_about_to_remove_is_no_run(run_folder: Write, result: Make, tmp_path: Path) -> None:
    run_folder("a", result())
    run_folder("b", result()).rename(beside(tmp_path / "outputs" / "b"))
    assert find_runs([tmp_path / "outputs"]) == [tmp_path / "outputs" / "a"]


def test_follows_a_link_to_runs_elsewhere(run_folder: Write, result: Make, tmp_path: Path) -> None:
    run_folder("a", result())
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "here").symlink_to(tmp_path / "outputs")
    assert find_runs([tmp_path / "links"]) == [tmp_path / "links" / "here" / "a"]


def test_missing_folders_are_all_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError) as caught:
        find_runs([tmp_path / "none", tmp_path, tmp_path / "file"])
    assert caught.value.problems == [
        f"There is no folder {tmp_path / 'none'}.",
        f"{tmp_path / 'file'} is not a folder.",
    ]


@pytest.fixture
def refused(run_folder: Write, result: Make, tmp_path: Path, told: list[str]) -> Callable[[], str]:
    """Build a table of one good run and whatever else lies there; return the one sentence on what was skipped."""
    run_folder("good", result())

    def check() -> str:
        told.clear()
        table = read_report([tmp_path / "outputs"], tell=told.append).markdown()
        assert table.count("resnet56-resnet20") == 1
        assert "| 71.00 " in table
        assert len(told) == 1, told
        assert "\n" not in told[0]
        assert told[0].endswith(".")
        return told[0]

    return check


def test_every_truncation_is_named_and_skipped(run_folder: Write, result: Make, refused: Callable[[], str]) -> None:
    values = result()
    for key in ("choices", "packages", "code", "machine"):
        del values[key]
    values["config"] = {"recipe": {"lr": 0.05}}
    whole = json.dumps(values)
    file = run_folder("bad", {}) / "result.json"
    for length in range(len(whole)):
        file.write_text(whole[:length])
        assert refused().startswith(f"{file} is skipped: it is not valid JSON (")


def test_any_damage_leaves_a_table(run_folder: Write, result: Make, tmp_path: Path, told: list[str]) -> None:
    """Whatever stands in a record, it is told of or shown, in every form."""
    run_folder("good", result({"identity.cell": "good"}))
    file = run_folder("bad", {}) / "result.json"
    whole, chance = json.dumps(result(seed=1)), random.Random(0)
    outcomes = set()
    for _ in range(200):
        signs = list(whole)
        for _ in range(chance.randint(1, 8)):
            signs[chance.randrange(len(signs))] = chance.choice('{}[]",:0129.eEN-\\\x00\u2603\n')
        file.write_text("".join(signs))
        told.clear()
        report = read_report([tmp_path / "outputs"], tell=told.append)
        shown = len(report.cells)
        assert shown + len(told) == 2, told
        assert all(str(file) in sentence for sentence in told)
        for text in (report.markdown(), report.latex(), report.csv()):
            assert "71.00" in text
        outcomes.add(shown)
    assert outcomes == {1, 2}


def _keys(values: dict[str, Any], prefix: str = "") -> list[str]:
    found = []
    for key, value in values.items():
        found.append(prefix + key)
        if isinstance(value, dict) and key not in ("config", "choices", "packages", "code", "machine"):
            found += _keys(value, f"{prefix}{key}.")
    return found


# What tables do not show may be absent: a record of an older or newer tool with the same schema.
_NOT_NEEDED = {
    "student.top1.best_epoch",
    "student.parameters",
    "teacher.sha256",
    "validation",
    "identity.run",
    "choices",
    "packages",
    "code",
    "machine",
}


def test_every_missing_key_is_named_and_skipped(run_folder: Write, result: Make, refused: Callable[[], str]) -> None:
    file = run_folder("bad", {}) / "result.json"
    keys = _keys(result())
    assert len(keys) > 30
    for dotted in keys:
        values = result()
        group = values
        *groups, key = dotted.split(".")
        for name in groups:
            group = group[name]
        del group[key]
        file.write_text(json.dumps(values))
        if dotted in _NOT_NEEDED:
            read_record(file.parent)
        else:
            assert refused() == f"{file} is skipped: the key {dotted} is missing."


@pytest.mark.parametrize(
    ("patch", "reason"),
    [
        ({"student.top1.best": float("nan")}, "it is not valid JSON (NaN in place of a number)"),
        ({"teacher.top1": float("inf")}, "it is not valid JSON (Infinity in place of a number)"),
        ({"student.top1.best": 101.0}, "student.top1.best is not a percentage from 0 to 100"),
        ({"student.top1.last": -1}, "student.top1.last is not a percentage from 0 to 100"),
        ({"student.top1.last": 71.25}, "student.top1.best is 71, less than the last epoch's 71.25"),
        ({"student.top1.last": "70.1"}, "student.top1.last is not a number"),
        ({"student.top1.last": True}, "student.top1.last is not a number"),
        ({"student.top1.last": None}, "student.top1.last is not a number"),
        ({"wall_seconds": 10**400}, "wall_seconds is not a finite number"),
        ({"student.top1": 70.1}, "student.top1 is not a group of keys"),
        ({"student": None}, "student is not a group of keys"),
        ({"config": []}, "config is not a group of keys"),
        ({"seed": 0.5}, "seed is not a whole number"),
        ({"seed": True}, "seed is not a whole number"),
        ({"epochs": -1}, "epochs is not a whole number"),
        ({"method": None}, "method is not a name"),
        ({"dataset": " "}, "dataset is not a name"),
        ({"agent": 3}, "agent is not a name"),
        ({"schema": 2}, "it has schema 2 and this version reads schema 1"),
        ({"schema": "1"}, 'it has schema "1" and this version reads schema 1'),
        ({"schema": True}, "it has schema true and this version reads schema 1"),
        ({"task": "evaluate"}, "its task is 'evaluate', neither distill nor train_teacher"),
    ],
)
def test_every_bad_value_is_named_and_skipped(
    patch: dict[str, Any], reason: str, run_folder: Write, result: Make, refused: Callable[[], str]
) -> None:
    file = run_folder("bad", result(patch)) / "result.json"
    assert refused() == f"{file} is skipped: {reason}."


@pytest.mark.parametrize(
    "content",
    [b"", b"\xff\xfe\x00", b"null", b"[]", b'"text"', b"[" * 100_000, b'{"schema": ' + b"1" * 5000 + b"}", b"{}{}"],
    ids=["empty", "not-utf8", "null", "list", "text", "deep", "digits", "two"],
)
def test_every_other_content_is_named_and_skipped(
    content: bytes, run_folder: Write, refused: Callable[[], str]
) -> None:
    file = run_folder("bad", {}) / "result.json"
    file.write_bytes(content)
    assert refused().startswith(f"{file} is skipped: it ")


def test_what_is_no_file_is_named_and_skipped(run_folder: Write, refused: Callable[[], str]) -> None:
    file = run_folder("bad", {}) / "result.json"
    file.unlink()
    file.mkdir()
    assert refused() == f"{file} is skipped: it cannot be read (Is a directory)."
    file.rmdir()
    file.symlink_to("nowhere")
    assert refused() == f"{file} is skipped: it cannot be read (No such file or directory)."


def test_what_may_not_be_read_is_named_and_skipped(
    run_folder: Write, result: Make, refused: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = run_folder("bad", result())
    # Not by chmod alone: the tests may run as root, whom no mode stops.
    read_bytes, listdir = Path.read_bytes, os.listdir

    def guarded_read(self: Path) -> bytes:
        if self.parent == folder:
            raise PermissionError(13, "Permission denied")
        return read_bytes(self)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "read_bytes", guarded_read)
        assert refused() == f"{folder / 'result.json'} is skipped: it cannot be read (Permission denied)."

    def guarded_list(path: Path) -> list[str]:
        if Path(path) == folder:
            raise PermissionError(13, "Permission denied")
        return listdir(path)

    monkeypatch.setattr(os, "listdir", guarded_list)
    assert refused() == f"{folder} is skipped: it cannot be listed (Permission denied)."


@pytest.mark.skipif(os.geteuid() == 0, reason="no mode stops root")
def test_modes_are_respected(run_folder: Write, result: Make, refused: Callable[[], str]) -> None:
    folder = run_folder("bad", result())
    (folder / "result.json").chmod(0)
    assert "Permission denied" in refused()
    folder.chmod(0)
    try:
        assert "Permission denied" in refused()
    finally:
        folder.chmod(0o755)


def test_unfinished_runs_are_one_list(
    run_folder: Write, status_folder: Write, result: Make, told: list[str], tmp_path: Path
) -> None:
    run_folder("good", result())
    running = status_folder("r", state="running", epoch=3, epochs=240, message="")
    failed = status_folder("f", state="failed", epoch=3, epochs=240, message="The loss is not finite.\nTraceback")
    bare = status_folder("x", state="interrupted")
    runs = find_runs([tmp_path / "outputs"])
    assert len(read_records(runs, tell=told.append)) == 1
    assert told == [
        "3 runs not finished:\n"
        f"  {failed}  failed: The loss is not finite\n"
        f"  {running}  stopped: epoch 3 of 240\n"
        f"  {bare}  interrupted"
    ]
    told.clear()
    report = read_report([tmp_path / "outputs"], tell=told.append)
    for text in (report.markdown(), report.latex(), report.html()):  # which stand without what is told beside them
        assert "In no mean: 1 run that failed, 1 run that stopped, of all that were looked at." in text
    told[1:] = []
    assert [line.split()[0] for line in told[0].splitlines()[1:]] == ["f", "r", "x"]
    with pytest.raises(ConfigError, match="No finished run in"):
        read_report([bare], tell=told.append)
    assert told[1].splitlines() == ["1 run not finished:", f"  {bare}  interrupted"]


def test_what_is_said_of_an_unfinished_run_is_one_clipped_line(status_folder: Write, told: list[str]) -> None:
    folder = status_folder("f", state="failed", message="a word " * 100)
    status_folder("longer", state="interrupted")
    read_records(find_runs([folder.parent]), below=folder.parent, tell=told.append)
    head, first, second = told[0].splitlines()
    assert (head, second) == ("2 runs not finished:", "  longer  interrupted")
    assert first.startswith("  f       failed: a word a word")
    assert first.endswith(" …")
    assert len(first) < 120


def test_a_long_list_of_unfinished_runs_is_cut(status_folder: Write, told: list[str], tmp_path: Path) -> None:
    for i in range(30):
        status_folder(f"{i:02}", state="running", epoch=0, epochs=5)
    with pytest.raises(ConfigError, match="No finished run in"):
        read_report([tmp_path / "outputs"], tell=told.append)
    assert told[0].startswith("30 runs not finished:\n  00  stopped: epoch 0 of 5\n")
    assert told[0].endswith("\n  and 22 more")


def test_a_run_whose_result_is_gone_is_not_finished(status_folder: Write, told: list[str]) -> None:
    folder = status_folder("r", state="finished", epoch=5, epochs=5)
    assert read_records([folder], tell=told.append) == []
    assert told == [f"1 run not finished:\n  {folder}  stopped: epoch 5 of 5"]


def test_a_damaged_status_is_named(status_folder: Write, told: list[str]) -> None:
    folder = status_folder("a")
    assert read_records([folder], tell=told.append) == []
    assert told == [f"{folder / 'status.json'} is skipped: the key state is missing."]


def test_the_sentence_of_one_record_alone(run_folder: Write, result: Make) -> None:
    folder = run_folder("a", result(schema=7))
    with pytest.raises(RecordError, match=r"result.json is skipped: it has schema 7 and this version reads schema 1\."):
        read_record(folder)


def test_a_result_that_cannot_be_read_is_not_to_be_removed() -> None:
    Path("run/result.json").mkdir(parents=True)
    assert unusable(Path("run")) == "run/result.json cannot be used, as it cannot be read (Is a directory)."
