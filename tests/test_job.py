"""The supervisor of a job: which GPU it gets, and what it leaves of an end that the job could not tell."""

from __future__ import annotations

import json
import os
import pickle
import signal
import socket
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from rlkd_run.errors import Interrupted
from rlkd_run.gpu_slots import VISIBLE, gpu_slot, visible_gpus
from rlkd_run.job import note_end, supervise
from rlkd_run.locks import is_locked
from rlkd_run.record import RunFolder


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(VISIBLE, "3, 5")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


def test_jobs_spread_over_the_gpus_a_fixed_number_on_each(two_gpus: None) -> None:
    with ExitStack() as stack:
        seen = [stack.enter_context(gpu_slot(2, number))[VISIBLE] for number in range(4)]
    assert seen == ["3", "5", "3", "5"]


def test_the_next_job_gets_the_gpu_that_became_free(two_gpus: None) -> None:
    """Counting job numbers alone would put job 2 beside job 0, and leave GPU 5 idle."""
    with gpu_slot(1, 0) as first:
        with gpu_slot(1, 1) as second:
            assert (first[VISIBLE], second[VISIBLE]) == ("3", "5")
        with gpu_slot(1, 2) as third:
            assert third[VISIBLE] == "5"


def test_more_jobs_than_places_wait(two_gpus: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VISIBLE, "0")
    ended: list[float] = []

    def hold() -> None:
        with gpu_slot(1, 0):
            time.sleep(0.3)
            ended.append(time.monotonic())

    thread = threading.Thread(target=hold)
    thread.start()
    time.sleep(0.1)
    with gpu_slot(1, 1):
        assert ended
        assert time.monotonic() >= ended[0]
    thread.join()


def test_nothing_is_decided_where_there_is_nothing_to_decide(two_gpus: None, monkeypatch: pytest.MonkeyPatch) -> None:
    with gpu_slot(None, 0) as environment:
        assert environment == {}
    monkeypatch.setenv(VISIBLE, "")
    assert visible_gpus() == []
    with gpu_slot(2, 0) as environment:
        assert environment == {}


def test_the_child_sees_its_gpu_and_prints_into_its_log() -> None:
    program = f"import os, sys; print(os.environ[{VISIBLE!r}]); print('wrong', file=sys.stderr); sys.exit(3)"
    with open("note", "a") as note:
        assert supervise([sys.executable, "-c", program], note, log=Path("log"), environment={VISIBLE: "7"}) == 3
    assert Path("note").read_text().split()[:2] == [socket.gethostname(), str(os.getppid())]
    assert sorted(Path("log").read_text().split()) == ["7", "wrong"]


@pytest.mark.parametrize(
    ("code", "state", "message"),
    [
        (-signal.SIGKILL, "failed", "killed by SIGKILL; where nobody did that, the machine was out of memory"),
        (-signal.SIGSEGV, "failed", "killed by SIGSEGV"),
        (9, "failed", "its process ended with exit code 9"),
        (128 + signal.SIGTERM, "interrupted", "its process ended with exit code 143"),
    ],
)
def test_an_end_that_the_job_could_not_tell(code: int, state: str, message: str) -> None:
    note_end(Path("run"), code)
    status = json.loads(Path("run/status.json").read_text())
    assert (status["state"], status["message"]) == (state, message)


def test_what_the_job_told_itself_stays_and_nobody_elses_record_is_touched() -> None:
    with RunFolder(Path("run")) as folder:
        folder.failed(ValueError("first"))
    note_end(Path("run"), 1)
    assert json.loads(Path("run/status.json").read_text())["message"] == "first"
    with RunFolder(Path("run")) as folder:
        folder.begin({})
        assert is_locked(Path("run/.lock"))
        note_end(Path("run"), -9)
        assert json.loads(Path("run/status.json").read_text())["state"] == "running"
    assert not is_locked(Path("run/.lock"))
    Path("file").write_text("in the way of a folder")
    assert not is_locked(Path("file/.lock"))


def test_an_interruption_travels_between_processes() -> None:
    assert pickle.loads(pickle.dumps(Interrupted(signal.SIGTERM))).exit_code == 143
