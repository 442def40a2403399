"""Signals as requests."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from rlkd_run import interrupt
from rlkd_run.errors import Interrupted
from rlkd_run.interrupt import StopRequest, stop_at_once


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR2])
def test_the_first_is_noted_the_second_acts(number: signal.Signals, monkeypatch: pytest.MonkeyPatch) -> None:
    before = signal.getsignal(number)
    with StopRequest() as stop:
        assert stop.signal_number is None
        os.kill(os.getpid(), number)
        assert stop.signal_number == number
        os.kill(os.getpid(), signal.SIGTERM)  # at once: the same request once more
        monkeypatch.setattr(interrupt, "_SAME", 0.0)
        with pytest.raises(Interrupted) as ended:
            os.kill(os.getpid(), number)
        assert ended.value.exit_code == 128 + number
    assert signal.getsignal(number) == before


@pytest.fixture
def _a_terminal() -> Iterator[None]:
    """Also where the tests themselves were started with nohup."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.usefixtures("_a_terminal")
def test_of_many_hangups_one_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interrupt, "_SAME", 0.0)
    with StopRequest() as stop:
        os.kill(os.getpid(), signal.SIGHUP)
        os.kill(os.getpid(), signal.SIGHUP)
        assert stop.signal_number == signal.SIGHUP
    os.kill(os.getpid(), signal.SIGHUP)  # while the end is written down
    signal.signal(signal.SIGHUP, stop_at_once)
    with pytest.raises(Interrupted):
        os.kill(os.getpid(), signal.SIGHUP)
    os.kill(os.getpid(), signal.SIGHUP)


@pytest.mark.usefixtures("_a_terminal")
def test_nohup_is_obeyed() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with StopRequest() as stop:
        os.kill(os.getpid(), signal.SIGHUP)
        assert stop.signal_number is None
