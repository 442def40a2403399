"""The run folder: lock, status, and nothing left behind by a mistake."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from support import TINY, Ended

from rlkd_run import environment
from rlkd_run.config.composition import compose_command
from rlkd_run.environment import provenance
from rlkd_run.errors import ConfigError, FolderBusy, Interrupted, RunError
from rlkd_run.files import beside
from rlkd_run.job import Frozen
from rlkd_run.record import RunFolder, finished, read_json


def status(folder: Path) -> dict[str, object]:
    values: dict[str, object] = json.loads((folder / "status.json").read_text())
    return values


def test_status_is_kept_up_and_added_to() -> None:
    with RunFolder(Path("out/run")) as folder:
        folder.status("running", epoch=1)
        folder.status("running", epoch=2, note="x")
    found = status(Path("out/run"))
    assert (found["state"], found["epoch"], found["note"], found["process"]) == ("running", 2, "x", os.getpid())


def test_a_second_sitting_keeps_when_it_started_and_forgets_how_it_failed() -> None:
    with pytest.raises(RunError), RunFolder(Path("run")):
        raise RunError("it broke")
    started = status(Path("run"))["started"]
    with RunFolder(Path("run")) as folder:
        folder.begin({"x": 1})
    found = status(Path("run"))
    assert found["started"] == started
    assert "message" not in found
    assert Path("run/config.yaml").read_text() == "x: 1\n"


def test_a_full_disk_does_not_hide_what_happened(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def run() -> None:
        with RunFolder(Path("run")) as folder:
            folder.status("running")
            monkeypatch.setattr(os, "fsync", full)
            with pytest.raises(RunError, match=r"status.json could not be written: No space left on device\."):
                folder.status("running", epoch=2)
            raise RunError("the first thing")

    with pytest.raises(RunError, match="the first thing"):
        run()
    assert status(Path("run"))["state"] == "running"
    assert "epoch" not in status(Path("run"))


def test_a_failure_leaves_its_traceback() -> None:
    with pytest.raises(RunError), RunFolder(Path("run")):
        raise RunError("it broke")
    found = status(Path("run"))
    assert (found["state"], found["message"]) == ("failed", "it broke")
    assert "RunError: it broke" in str(found["traceback"])


def test_an_interruption_is_no_failure() -> None:
    with pytest.raises(Interrupted), RunFolder(Path("run")):
        raise Interrupted(signal.SIGTERM)
    assert status(Path("run"))["state"] == "interrupted"


def mistaken(path: Path) -> None:
    with RunFolder(path) as folder:
        folder.begin({"x": 1})
        raise ConfigError("a corrupt image")


def test_a_mistake_leaves_nothing_behind() -> None:
    with pytest.raises(ConfigError):
        mistaken(Path("a/b/run"))
    assert list(Path().iterdir()) == []


def test_a_mistake_removes_no_more_than_was_made() -> None:
    Path("a/other").mkdir(parents=True)
    with pytest.raises(ConfigError), RunFolder(Path("a/b/run")):
        raise ConfigError("a corrupt image")
    assert [path.name for path in Path("a").iterdir()] == ["other"]


def test_a_mistake_keeps_what_was_reached_before() -> None:
    Path("run/checkpoints").mkdir(parents=True)
    with pytest.raises(ConfigError):
        mistaken(Path("run"))
    assert status(Path("run"))["state"] == "failed"


def test_the_result_ends_the_run() -> None:
    with RunFolder(Path("run")) as folder:
        assert not finished(folder.path)
        with pytest.raises(ValueError, match="JSON"):
            folder.write_result({"top1": float("nan")})
        folder.write_result({"top1": 1.5})
    assert finished(Path("run"))
    assert read_json(Path("run/result.json")) == {"schema": 1, "top1": 1.5}
    assert status(Path("run"))["state"] == "finished"


def test_metrics_have_the_columns_of_all_rows() -> None:
    with RunFolder(Path("run")) as folder:
        folder.write_csv("metrics.csv", [{"epoch": 1, "a": 2.5}, {"epoch": 2, "a": 3.5, "b": 1}])
    assert Path("run/metrics.csv").read_text() == "epoch,a,b\n1,2.5,\n2,3.5,1\n"


def test_a_folder_that_cannot_be_written_is_a_mistake() -> None:
    Path("file").write_text("")
    with pytest.raises(ConfigError, match=r"The run folder file/run cannot be written: Not a directory\."):
        RunFolder(Path("file/run")).__enter__()


def test_a_disk_that_is_full_on_entry_is_one_sentence() -> None:
    Path("run").mkdir()
    Path("run/.lock").symlink_to("/dev/full")
    with pytest.raises(RunError, match=r"^run/\.lock could not be written: .*\.$"):
        RunFolder(Path("run")).__enter__()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_no_mistake_wherever_it_shows(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: object, **options: object) -> None:
        raise OSError(number, os.strerror(number))

    (config,) = compose_command(TINY).runs
    with monkeypatch.context() as patched:
        patched.setattr(Path, "mkdir", full)
        with pytest.raises(RunError, match=rf"^The run folder run cannot be written: {os.strerror(number)}\.$"):
            RunFolder(Path("run")).__enter__()
        with pytest.raises(RunError, match=rf"\.queue cannot be written: {os.strerror(number)}\.$"):
            Frozen(config, Path.cwd()).write()


@pytest.mark.parametrize(
    ("text", "words"),
    [("{", "is not valid JSON"), ("[" * 100_000, "is not valid JSON"), ("[]", "does not hold a JSON object")],
    ids=["half", "deep", "list"],
)
def test_unreadable_json_is_named(text: str, words: str) -> None:
    Path("x.json").write_text(text)
    with pytest.raises(ConfigError, match=f"x.json {words}"):
        read_json(Path("x.json"))
    with pytest.raises(ConfigError, match="cannot be read"):
        read_json(Path("y.json"))


def hold(path: str, seconds: float) -> None:
    with RunFolder(Path(path)) as folder:
        folder.status("running")
        time.sleep(seconds)


@pytest.fixture
def holder() -> object:
    process = multiprocessing.get_context("spawn").Process(target=hold, args=(str(Path("run").resolve()), 2.0))
    process.start()
    while not Path("run/status.json").exists():
        time.sleep(0.05)
    yield process
    process.kill()
    process.join()


def test_one_process_a_folder(holder: multiprocessing.Process) -> None:
    with pytest.raises(ConfigError, match=f"run is being worked on by process {holder.pid} on .*: wait for it"):
        RunFolder(Path("run")).__enter__()


def test_a_teachers_folder_is_waited_for(holder: multiprocessing.Process, capsys: pytest.CaptureFixture[str]) -> None:
    with RunFolder(Path("run"), wait=True):
        assert not holder.is_alive() or holder.join(1) is None
    assert capsys.readouterr().out.count("waiting for process") == 1


def test_who_waited_for_a_folder_that_was_removed_gets_a_new_one(capsys: pytest.CaptureFixture[str]) -> None:
    entered, leave = threading.Event(), threading.Event()

    def mistaken_later() -> None:
        with RunFolder(Path("t/run")) as folder:
            folder.begin({})
            entered.set()
            assert leave.wait(60)
            raise ConfigError("a corrupt image")

    def wait_and_begin() -> None:
        with RunFolder(Path("t/run"), wait=True) as folder:
            folder.begin({"x": 1})
            with pytest.raises(FolderBusy):
                RunFolder(Path("t/run")).__enter__()

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(mistaken_later)
        assert entered.wait(60)
        second = pool.submit(wait_and_begin)
        while "waiting for process" not in capsys.readouterr().out:
            time.sleep(0.02)
        leave.set()
        with pytest.raises(ConfigError, match="a corrupt image"):
            first.result()
        second.result()
    assert Path("t/run/config.yaml").read_text() == "x: 1\n"
    assert [path.name for path in Path("t").iterdir()] == ["run"]


def test_what_a_killed_process_left_half_written_goes_when_the_run_is_taken_up() -> None:
    Path("run").mkdir()
    beside(Path("run/config.yaml")).write_text("x:")
    with RunFolder(Path("run")) as folder:
        folder.begin({"x": 1})
    assert sorted(os.listdir("run")) == [".lock", "config.yaml", "status.json"]


def test_a_killed_process_leaves_no_lock(holder: multiprocessing.Process) -> None:
    holder.kill()
    holder.join()
    with RunFolder(Path("run")):
        pass


@pytest.mark.skipif(not (Path(__file__).parent.parent / ".git").exists(), reason="no checkout")
@pytest.mark.parametrize("task", ["distill", "train_teacher"])
def test_a_record_names_the_code_that_its_run_began_with(
    task: str, rlkd_run: Callable[..., Ended], monkeypatch: pytest.MonkeyPatch
) -> None:
    def git(folder: Path, *arguments: str) -> str:
        begun = any(Path("outputs").glob("*/*/metrics.csv"))
        return {"rev-parse": "later" if begun else "earlier", "status": ""}[arguments[0]]

    monkeypatch.setattr(environment, "_git", git)
    environment.code.cache_clear()
    try:
        assert rlkd_run(*TINY, f"task={task}").code == 0
    finally:
        environment.code.cache_clear()
    records = [json.loads(file.read_text()) for file in Path("outputs").glob("*/*/result.json")]
    assert records
    assert {record["code"]["git"]["commit"] for record in records} == {"earlier"}


def test_provenance_names_versions_and_no_host() -> None:
    import socket

    facts = provenance({"device": "cpu"})
    assert facts["packages"]["torch"]
    assert facts["machine"]["device"] == "cpu"
    assert socket.gethostname() not in json.dumps(facts)
