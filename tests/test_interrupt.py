"""Signals as requests."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from rlkd_run import interrupt
from rlkd_run.errors import Interrupted
from rlkd_run.interrupt import StopRequest, answered_by, stop_at_once, uninterrupted


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
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


def test_what_slurm_announced_is_not_cut_short_by_what_it_sends_next(monkeypatch: pytest.MonkeyPatch) -> None:
    """The job ends with a SIGTERM while the step under way may take long."""
    monkeypatch.setattr(interrupt, "_SAME", 0.0)
    with StopRequest() as stop:
        os.kill(os.getpid(), signal.SIGUSR2)
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGUSR2)
        assert stop.signal_number == signal.SIGUSR2
        with pytest.raises(Interrupted):
            os.kill(os.getpid(), signal.SIGINT)  # a person


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


def stop(number: int, done: list[int]) -> None:
    os.kill(os.getpid(), number)
    done.append(number)


def test_what_must_not_be_interrupted_comes_to_its_end() -> None:
    done: list[int] = []
    with pytest.raises(Interrupted) as ended, uninterrupted():
        stop(signal.SIGINT, done)
    assert done
    assert ended.value.exit_code == 130


@pytest.mark.usefixtures("_a_terminal")
def test_the_handlers_before_come_back_but_to_what_is_ignored_from_now_on() -> None:
    done: list[int] = []
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Interrupted), answered_by(stop_at_once):
        stop(signal.SIGHUP, done)
    assert not done
    assert signal.getsignal(signal.SIGTERM) == before
    assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
