"""The supervisor of a job: which GPU it gets, and what it leaves of an end that the job could not tell."""

from __future__ import annotations

import errno
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
from omegaconf import OmegaConf

from rlkd_run import locks, sweep, worker
from rlkd_run.config.composition import compose_command
from rlkd_run.config.identity import folder_of
from rlkd_run.config.registry import METHODS
from rlkd_run.errors import Interrupted
from rlkd_run.gpu_slots import VISIBLE, gpu_slot, visible_gpus
from rlkd_run.job import Ended, Frozen, note_end, run_job, supervise
from rlkd_run.locks import is_locked
from rlkd_run.queue_files import forget, lock_file, queued
from rlkd_run.record import RunFolder
from rlkd_run.results.status import standing


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
        assert supervise([sys.executable, "-c", program], [note], log=Path("log"), environment={VISIBLE: "7"}).code == 3
    assert Path("note").read_text().split()[:2] == [socket.gethostname(), str(os.getppid())]
    assert sorted(Path("log").read_text().split()) == ["7", "wrong"]


@pytest.mark.parametrize(
    ("ended", "state", "message"),
    [
        (Ended(-signal.SIGKILL), "failed", "killed by SIGKILL; where nobody did that, the machine was out of memory"),
        (Ended(-signal.SIGSEGV), "failed", "killed by SIGSEGV"),
        (Ended(9), "failed", "its process ended with exit code 9"),
        (Ended(128 + signal.SIGTERM), "interrupted", "stopped before it had begun"),
        (Ended(-signal.SIGTERM), "failed", "killed by SIGTERM"),
        (Ended(-signal.SIGINT, asked=signal.SIGINT), "interrupted", "stopped before it had begun"),
    ],
)
def test_an_end_that_the_job_could_not_tell(ended: Ended, state: str, message: str) -> None:
    note_end(Path("run"), ended)
    status = json.loads(Path("run/status.json").read_text())
    assert (status["state"], status["message"]) == (state, message)


def test_what_the_job_told_itself_stays_and_nobody_elses_record_is_touched() -> None:
    with RunFolder(Path("run")) as folder:
        folder.failed(ValueError("first"))
    note_end(Path("run"), Ended(1))
    assert json.loads(Path("run/status.json").read_text())["message"] == "first"
    with RunFolder(Path("run")) as folder:
        folder.begin({})
        assert is_locked(Path("run/.lock"))
        note_end(Path("run"), Ended(-9))
        assert json.loads(Path("run/status.json").read_text())["state"] == "running"
    assert not is_locked(Path("run/.lock"))
    Path("file").write_text("in the way of a folder")
    assert not is_locked(Path("file/.lock"))


def test_a_full_disk_leaves_no_child_alone() -> None:
    with open("/dev/full", "w") as note:
        assert supervise([sys.executable, "-c", "import sys; sys.exit(4)"], [note])[:2] == (4, None)


def test_only_what_this_process_was_asked_counts_as_asked() -> None:
    """A child that somebody stopped alone takes no sweep along."""
    stop_itself = "import os, signal; os.kill(os.getpid(), signal.SIGTERM)"
    stop_its_parent = "import os, signal, time; os.kill(os.getppid(), signal.SIGTERM); time.sleep(20)"
    with open("note", "a") as note:
        assert supervise([sys.executable, "-c", stop_itself], [note])[:2] == (-signal.SIGTERM, None)
        assert supervise([sys.executable, "-c", stop_its_parent], [note])[:2] == (-signal.SIGTERM, signal.SIGTERM)


def test_an_orphan_stops_before_it_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "kill", lambda process, number: asked.append((process, number)))
    monkeypatch.setattr(worker.ctypes, "CDLL", lambda name: type("", (), {"prctl": lambda *arguments: 0}))
    worker.die_with_parent(os.getppid())
    assert asked == []
    worker.die_with_parent(2**22 + 1)  # no process has this number
    assert asked == [(os.getpid(), signal.SIGTERM)]


def test_a_disk_without_locks_is_said_once_and_keeps_nobody_waiting(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def no_locks(file: object, how: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(locks.fcntl, "flock", no_locks)
    for _ in range(2):
        with open("one.lock", "w") as file:
            assert locks.try_lock(file)
    assert capsys.readouterr().err.count("has no locks (No locks available)") == 1


PLUGIN = """
from rlkd_run.config.methods import KDOptions
from rlkd_run.config.registry import METHODS

METHODS.register("of_a_plugin", KDOptions, "nowhere:Nothing")
"""


def test_two_sweeps_queue_the_same_run_each_as_it_was_typed() -> None:
    here, there = (compose_command(["teacher=resnet56", f"dataset.root={root}"]).runs[0] for root in ("a", "b"))
    files = [Frozen(run, Path.cwd()).write() for run in (here, there)]
    assert [Frozen.read(file).config.dataset.root for file in files] == ["a", "b"]
    assert [folder.name for folder in queued(Path("outputs/runs"))] == [folder_of(here).name]
    forget(folder_of(here))
    assert not list(queued(Path("outputs/runs")))


def test_a_process_that_knows_no_plugin_reads_a_queued_job_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("a_plugin.py").write_text(PLUGIN)
    monkeypatch.syspath_prepend(str(Path.cwd()))
    monkeypatch.setattr(METHODS, "_entries", dict(METHODS._entries))  # what it registers is gone afterwards
    (run,) = compose_command(["teacher=resnet56"]).runs
    file = Frozen(run, Path.cwd()).write()
    values = json.loads(file.read_text())
    values["config"]["plugins"], values["config"]["method"]["name"] = ["a_plugin"], "of_a_plugin"
    file.write_text(json.dumps(values))
    assert Frozen.read(file).config.method.name == "of_a_plugin"


@pytest.mark.parametrize(
    ("status", "left"),
    [(None, True), ("running", True), ("interrupted", True), ("failed", False)],
)
def test_what_another_sweep_began_is_taken_over_unless_it_failed(status: str | None, left: bool) -> None:
    folder = Path("outputs/runs/one")
    if status is not None:
        folder.mkdir(parents=True)
        (folder / "status.json").write_text(json.dumps({"state": status}))
    assert sweep._left(folder) is left


@pytest.fixture
def launched(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The jobs that a launcher was given, as it names their files; nothing else becomes of them."""
    given: list[str] = []
    monkeypatch.setattr(sweep, "run_job", lambda composed: given.append(composed.frozen))
    return given


def launch(*overrides: str) -> None:
    command = compose_command([*overrides, "seed=0,1"])
    sweep._launch({folder_of(run): run for run in command.runs}, command)


def test_what_another_users_sweep_left_in_the_queue_is_in_nobodys_way(launched: list[str]) -> None:
    queue = Path("outputs/runs/.queue")
    queue.mkdir(parents=True)
    (queue / "multirun.yaml").symlink_to("nowhere/file")  # as one that may be removed, and not be written to
    launch()
    assert len(launched) == 2


@pytest.mark.parametrize("name", ["${a}", "a,b", "\\${a}", "\\\\${a}\\", "a\\b\"$'[x]"])
def test_a_folder_may_have_any_name(launched: list[str], monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    Path(name).mkdir()
    monkeypatch.chdir(name)
    launch()
    assert sorted(map(Path, launched)) == sorted(Path("outputs/runs/.queue").resolve().glob("*.json"))
    assert Path("outputs/runs/.queue/multirun.yaml").exists()


def test_a_lock_that_cannot_be_opened_is_on_record() -> None:
    (run,) = compose_command([]).runs
    frozen, folder = Frozen(run, Path.cwd()).write(), folder_of(run)
    lock_file(folder).mkdir()
    assert run_job(OmegaConf.create({"frozen": str(frozen), "launcher": "basic", "wait": False})) == 0
    assert standing(folder).words == f"failed: {lock_file(folder)} cannot be opened: Is a directory"


def test_an_interruption_travels_between_processes() -> None:
    assert pickle.loads(pickle.dumps(Interrupted(signal.SIGTERM))).exit_code == 143


def test_a_log_that_cannot_be_written_stops_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    Path("log").mkdir()
    with open("lock", "w") as note:
        program = "print('unheard'); raise SystemExit(3)"
        assert supervise([sys.executable, "-c", program], [note], log=Path("log")).code == 3
    assert capfd.readouterr().out == "log cannot be written (Is a directory): the output of this job is lost\n"
