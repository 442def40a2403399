"""Where runs stand."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from rlkd_run.locks import try_lock
from rlkd_run.queue_files import frozen_file, lock_file
from rlkd_run.results.cli import main
from rlkd_run.results.status import standing

Make = Callable[..., dict[str, Any]]
Write = Callable[..., Path]


def queue(folder: Path) -> None:
    frozen_file(folder, "0").parent.mkdir(exist_ok=True)
    for content in ("0", "1"):  # two sweeps
        frozen_file(folder, content).write_text("{}")


def test_a_whole_sweep(
    run_folder: Write, status_folder: Write, result: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    outputs = run_folder("done", result()).parent
    ago = (datetime.now(timezone.utc) - timedelta(minutes=7)).isoformat()
    running = status_folder("running", state="running", epoch=3, epochs=240, updated=ago)
    filling = status_folder("filling", state="running", epoch=3, epochs=240, phase="asking the teacher 13 %")
    status_folder("killed", state="running", epoch=2, epochs=240, phase="asking the teacher 13 %")
    begun = status_folder("begun", state="running", phase=None)
    status_folder("broken", state="failed", message="The loss is not finite.\nmore", traceback="…", epoch=5, epochs=9)
    status_folder("paused", state="interrupted", epoch=4, epochs=9, updated="yesterday")
    (status_folder("odd") / "status.json").write_text('{"state": ')
    for name in ("done", "running", "new", "preparing"):
        queue(outputs / name)
    with (
        open(running / ".lock", "w") as lock,
        open(filling / ".lock", "w") as third,
        open(begun / ".lock", "w") as fourth,
        open(lock_file(outputs / "preparing"), "w") as other,
    ):
        assert try_lock(lock)
        assert try_lock(third)
        assert try_lock(fourth)
        assert try_lock(other)
        assert main(["--status", str(outputs)]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    first, *lines = out.splitlines()
    assert first == "10 runs: 1 finished, 4 running, 1 failed, 1 interrupted, 1 stopped, 1 waiting, 1 unreadable"
    assert lines[:8] == [
        f"  running      {outputs}/begun  (getting ready)",
        f"  running      {outputs}/filling  (asking the teacher 13 %)",
        f"  running      {outputs}/preparing  (getting ready)",
        f"  running      {outputs}/running  (epoch 3 of 240, 7 min ago)",
        f"  failed       {outputs}/broken  (The loss is not finite)",
        f"  interrupted  {outputs}/paused  (epoch 4 of 9)",
        f"  stopped      {outputs}/killed  (epoch 2 of 240)",
        f"  waiting      {outputs}/new",
    ]
    assert lines[8].startswith(f"  unreadable   {outputs}/odd  (")


def test_a_result_that_is_of_no_use_finishes_nothing(
    run_folder: Write, status_folder: Write, result: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    outputs = run_folder("done", result()).parent
    (status_folder("cut", state="finished") / "result.json").write_text('{"schema": ')
    assert main(["--status", str(outputs)]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first == "2 runs: 1 finished, 1 unreadable"
    assert second.startswith(f"  unreadable   {outputs}/cut  ({outputs}/cut/result.json cannot be used, as ")


def test_a_folder_without_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--status", str(tmp_path)]) == 0
    assert capsys.readouterr().out == "no runs\n"
    assert main(["--status", str(tmp_path / "none")]) == 2
    assert "There is no folder" in capsys.readouterr().err


@pytest.mark.parametrize("state", [3, "melting", None])
def test_a_state_that_is_none(state: object, tmp_path: Path) -> None:
    (tmp_path / "status.json").write_text(json.dumps({"state": state}))
    assert standing(tmp_path).state == "unreadable"


def test_a_record_that_was_kept_alone(tmp_path: Path) -> None:
    (tmp_path / "result.json").write_text("{}")
    assert standing(tmp_path).words == "finished"


def test_status_takes_all_runs_or_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([str(tmp_path), "--status", "--where", "method=kd", "--csv", "x.csv"])
    assert "leave out --where, --csv." in capsys.readouterr().err
