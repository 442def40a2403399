"""Temperatures that follow the epoch on a line or on half a cosine wave, equal for all instances."""

from __future__ import annotations

import math

import torch

from rlkd_run.config.temperatures import ScheduleOptions
from rlkd_run.protocol import MixPlan, Observation, Situation, Temperatures
from rlkd_run.temperature.base import Policy, PolicySetting


class Schedule(Policy):
    """From `start` in epoch 1 to `end` in epoch N, and `end` from then on.

    Both shapes are plain baselines of ours, not a paper's method.
    """

    situation = Situation()  # Python keeps nothing

    def __init__(self, options: ScheduleOptions, setting: PolicySetting) -> None:
        self._options = options
        self._temperature = torch.tensor(self.at(1), device=setting.device)

    @staticmethod
    def shape(progress: float) -> float:
        """Share of the way that is done when `progress` of the epochs is over; both in [0, 1]."""
        raise NotImplementedError

    def at(self, epoch: int) -> float:
        """The temperature of epoch `epoch` (from 1)."""
        last = self._options.epochs - 1
        progress = min((epoch - 1) / last, 1.0) if last else 1.0
        start, end = self._options.start, self._options.end
        return start + (end - start) * self.shape(progress)

    def begin_epoch(self, epoch: int) -> MixPlan | None:
        """Set the epoch's temperature."""
        self._temperature.fill_(self.at(epoch))
        return None

    def temperatures(self, observation: Observation) -> Temperatures:  # noqa: ARG002
        """The epoch's temperature, 0-dim."""
        return Temperatures.equal(self._temperature)


class Linear(Schedule):
    """T(e) = start + (end - start) * (e - 1) / (N - 1)."""

    @staticmethod
    def shape(progress: float) -> float:
        """A line."""
        return progress


class Cosine(Schedule):
    """T(e) = start + (end - start) * (1 - cos(pi (e - 1) / (N - 1))) / 2."""

    @staticmethod
    def shape(progress: float) -> float:
        """Half a cosine wave: slow at both ends."""
        return (1 - math.cos(math.pi * progress)) / 2
