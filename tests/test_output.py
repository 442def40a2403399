"""Output that cannot be written."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator

import pytest

from rlkd_run.output import expendable_output


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
