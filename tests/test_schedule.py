"""The learning rate of every epoch, and the phases in which it starts anew."""

from __future__ import annotations

from dataclasses import replace

import pytest
from golden import golden

from rlkd_run.schedule import Phase, Schedule

STEP = Schedule(240, 0.05, [150, 180, 210], 0.1, 0.9, False, 5e-4)
COSINE = replace(STEP, epochs=200, lr=0.1, schedule="cosine")


def test_steps_drop_after_their_milestones() -> None:
    rates = {epoch: STEP.lr_at(epoch) for epoch in (1, 150, 151, 180, 181, 210, 211, 240)}
    expected = [0.05, 0.05, 5e-3, 5e-3, 5e-4, 5e-4, 5e-5, 5e-5]
    assert list(rates.values()) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("epochs_done", "rate"),
    [(0, "0.1"), (1, "0.099994"), (50, "0.085355"), (100, "0.05"), (150, "0.014645"), (199, "0.000006")],
)
def test_the_cosine_falls_from_the_first_epoch(epochs_done: int, rate: str) -> None:
    assert COSINE.lr_at(epochs_done + 1) == golden(rate)


def test_the_cosine_reaches_nothing_only_after_the_last_epoch() -> None:
    assert 0 < COSINE.lr_at(200) < 1e-5
    with pytest.raises(ValueError, match="epoch 201 is after the last phase, which ends with epoch 200"):
        COSINE.lr_at(201)


def test_the_cosine_knows_no_milestones() -> None:
    assert replace(COSINE, milestones=[1, 2, 3]).lr_at(100) == COSINE.lr_at(100)


FIRST, SECOND = Phase(120), Phase(80, labels_only=True, start="best")


@pytest.mark.parametrize(
    ("epoch", "phase", "since"),
    [(1, FIRST, 1), (120, FIRST, 120), (121, SECOND, 1), (200, SECOND, 80)],
)
def test_an_epoch_belongs_to_a_phase(epoch: int, phase: Phase, since: int) -> None:
    assert replace(COSINE, phases=(FIRST, SECOND)).phase_at(epoch) == (phase, since)


def test_each_phase_runs_the_whole_cosine() -> None:
    schedule = replace(COSINE, phases=(FIRST, SECOND))
    assert schedule.lr_at(1) == schedule.lr_at(121) == 0.1
    assert schedule.lr_at(61) == pytest.approx(0.05)  # half of 120 epochs done
    assert schedule.lr_at(161) == pytest.approx(0.05)  # half of 80


def test_each_phase_runs_the_steps_in_proportion() -> None:
    schedule = replace(STEP, phases=(Phase(160), Phase(80)))
    drops = [epoch for epoch in range(2, 241) if schedule.lr_at(epoch) < schedule.lr_at(epoch - 1)]
    assert drops == [101, 121, 141, 211, 221, 231]  # after 100, 120, 140 of 160, and 50, 60, 70 of 80
    assert schedule.lr_at(1) == schedule.lr_at(161) == 0.05


@pytest.mark.parametrize("epochs", [2, 3, 4])
def test_no_phase_begins_with_a_rate_that_has_dropped(epochs: int) -> None:
    phases = (Phase(epochs - epochs // 2), Phase(epochs // 2))
    milestones = [max(1, round(epochs * share)) for share in (0.625, 0.75, 0.875)]
    schedule = replace(STEP, epochs=epochs, phases=phases, milestones=milestones)
    assert [schedule.lr_at(1), schedule.lr_at(phases[0].epochs + 1)] == [schedule.lr] * 2


def test_one_phase_is_none() -> None:
    assert [replace(STEP, phases=(Phase(240),)).lr_at(epoch) for epoch in range(1, 241)] == [
        STEP.lr_at(epoch) for epoch in range(1, 241)
    ]


def test_a_phase_begins_anew_with_its_first_epoch_unless_it_is_the_first() -> None:
    schedule = replace(COSINE, phases=(FIRST, SECOND))
    assert {epoch: phase for epoch in range(1, 201) if (phase := schedule.begins_anew(epoch))} == {121: SECOND}
    assert not any(STEP.begins_anew(epoch) for epoch in range(1, 241))


def test_what_the_next_phase_begins_with_is_known_before() -> None:
    schedule = replace(STEP, epochs=6, phases=(Phase(2), Phase(3, start="best"), Phase(1)))
    assert [schedule.next_start(epoch) for epoch in range(1, 7)] == ["best", "best", "last", "last", "last", None]
    assert STEP.next_start(1) is None
