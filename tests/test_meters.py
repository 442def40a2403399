"""Numbers gather on the device and are shown now and then."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest
import torch

from rlkd_run import meters
from rlkd_run.errors import ConfigError
from rlkd_run.meters import EpochMeter, Readout
from rlkd_run.progress import EpochBar, describe, with_spread

CPU = torch.device("cpu")


def test_means_weigh_by_images_and_survive_a_checkpoint() -> None:
    meter = EpochMeter(CPU)
    assert meter.read() == {}
    meter.add({"a": torch.tensor(1.0), "b": torch.tensor(4.0)}, 3)
    meter.count(3)
    again = EpochMeter(CPU)
    again.load_state_dict(meter.state_dict())
    again.add({"a": torch.tensor(5.0), "b": torch.tensor(0.0)}, 1)
    again.count(1)
    assert again.read() == {"a": 2.0, "b": 3.0}
    again.reset()
    assert again.read() == {}


def test_a_step_of_other_names_is_refused_and_loses_nothing() -> None:
    meter = EpochMeter(CPU)
    meter.add({"loss": torch.tensor(1.0)}, 3)
    meter.count(3)
    with pytest.raises(ConfigError, match="recorded as loss, loss_extra, those before as loss: a method's losses must"):
        meter.add({"loss": torch.tensor(1.0), "loss_extra": torch.tensor(1.0)}, 3)
    assert meter.read() == {"loss": 1.0}
    meter.reset()
    meter.add({"loss": torch.tensor(2.0), "loss_extra": torch.tensor(1.0)}, 1)
    meter.count(1)
    assert meter.read() == {"loss": 2.0, "loss_extra": 1.0}


def test_a_constant_temperature_has_no_spread_however_long_the_epoch() -> None:
    meter = EpochMeter(CPU)
    temperature = torch.tensor(7.9)
    for _ in range(5005):
        meter.add({"t_mean": temperature, "t_square": temperature.square()}, 256)
        meter.count(256)
    means = with_spread(meter.read())
    assert means["t_mean"] == pytest.approx(7.9, rel=1e-6)
    assert means["t_std"] < 2e-3


def test_readout_keeps_its_pace(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(meters, "time", SimpleNamespace(monotonic=lambda: now))
    readout = Readout(CPU)
    assert readout.poll() is None
    assert readout.due()
    readout.offer(torch.tensor([1.0, 2.0]))
    assert not readout.due()
    assert readout.poll() == [1.0, 2.0]
    assert readout.poll() is None
    now += 0.9
    assert not readout.due()
    now += 0.2
    assert readout.due()


def test_the_spread_of_the_temperature() -> None:
    means = with_spread({"t_mean": 3.0, "t_square": 13.0, "loss_kl": 0.25, "agent_reward": -0.5})
    assert means["t_std"] == 2.0
    assert "t_square" not in means
    assert describe(means) == "kl 0.250  T 3.00±2.00  R -0.5000"
    assert describe({"loss_ce": 1.0}) == "ce 1.000"


def test_the_bar_shows_throughput_parts_temperature_and_reward(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    meter = EpochMeter(CPU)
    bar = EpochBar(3, 240, steps=10, start=4, enabled=True, device=CPU)
    for _ in range(2):
        meter.add({"loss_kl": torch.tensor(0.5), "t_mean": torch.tensor(4.0), "t_square": torch.tensor(17.0)}, 64)
        meter.count(64)
        bar.update(meter, 64, lambda: {"agent_reward": torch.tensor(0.01)})
    bar._bar.refresh()
    bar.close()
    shown = capsys.readouterr().err
    assert "epoch 3/240" in shown
    assert "6/10" in shown
    assert "img/s  kl 0.500  T 4.00±1.00  R +0.0100" in shown


def test_no_bar_where_nobody_looks(capsys: pytest.CaptureFixture[str]) -> None:
    bar = EpochBar(1, 1, steps=1, start=0, enabled=True, device=CPU)

    def never() -> dict[str, torch.Tensor]:
        raise AssertionError("asked for numbers that nobody sees")

    bar.update(EpochMeter(CPU), 1, never)
    bar.close()
    assert capsys.readouterr().err == ""
