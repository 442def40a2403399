"""Output that cannot be written."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rlkd_run.output import expendable_output, ready_streams


def _terminal() -> Iterator[int]:
    ours, theirs = os.openpty()
    yield theirs
    assert os.read(ours, 100) == b"seen\r\n"
    os.close(ours)


def _pipe() -> Iterator[int]:
    reader, writer = os.pipe()
    yield writer
    assert os.read(reader, 100) == b"seen\n"
    os.close(reader)


@pytest.mark.parametrize("kind", [_terminal, _pipe])
def test_without_a_reader_it_is_dropped(kind: Callable[[], Iterator[int]], monkeypatch: pytest.MonkeyPatch) -> None:
    steps = kind()
    number = next(steps)
    with monkeypatch.context() as patched, os.fdopen(number, "w") as stream:
        patched.setattr(sys, "stdout", stream)
        with expendable_output():
            print("seen", flush=True)
            assert next(steps, None) is None  # closed now
            with pytest.raises(OSError, match=r"error|pipe"):
                os.write(number, b"not seen")
            print("not seen", flush=True)
        assert sys.stdout is stream


def test_a_character_that_the_terminal_does_not_have(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched, open("log", "w", encoding="ascii") as stream:
        patched.setattr(sys, "stdout", stream)
        ready_streams()
        print("Δ")
        with expendable_output():
            print("T 4.00±1.00")
    assert Path("log").read_text() == "?\nT 4.00?1.00\n"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_on_a_full_disk_it_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched, open("/dev/full", "w") as stream:
        patched.setattr(sys, "stderr", stream)
        with expendable_output():
            print("dropped", file=sys.stderr, flush=True)


def test_what_stands_in_a_streams_place_is_left_alone(capsys: pytest.CaptureFixture[str]) -> None:
    with expendable_output():
        print("here")
    assert capsys.readouterr().out == "here\n"


@pytest.mark.skipif(os.name != "posix", reason="needs a shell that closes descriptors")
@pytest.mark.parametrize("module", ["rlkd_run", "rlkd_run.results.cli"])
def test_a_command_that_was_started_without_streams(module: str) -> None:
    version = [sys.executable, "-m", module, "--version"]
    assert subprocess.run(["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", *version], timeout=60).returncode == 0


@pytest.mark.skipif(os.name != "posix", reason="needs a shell that closes descriptors")
def test_no_file_gets_the_number_of_a_stream_that_is_missing() -> None:
    program = (
        "import os, subprocess, sys; from rlkd_run.output import ready_streams; ready_streams();"
        "print('dropped'); print('dropped', file=sys.stderr); file = open('file', 'w');"
        "subprocess.run(['echo', 'from a child'], check=True);"
        "sys.exit(0 if file.fileno() > 2 and sys.stdin.read() == '' else 1)"
    )
    closed = ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", sys.executable, "-c", program]
    assert subprocess.run(closed, timeout=60).returncode == 0
    assert Path("file").read_text() == ""
