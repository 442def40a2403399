"""Signals as requests."""

from __future__ import annotations

import os
import signal

import pytest

from rlkd_run import interrupt
from rlkd_run.errors import Interrupted
from rlkd_run.interrupt import StopRequest


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
