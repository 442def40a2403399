"""One constant temperature."""

from __future__ import annotations

import torch

from rlkd_run.config.temperatures import FixedOptions
from rlkd_run.protocol import Observation, Situation, Temperatures
from rlkd_run.temperature.base import Policy, PolicySetting


class Fixed(Policy):
    """The same temperature for every instance of every epoch (arXiv 1503.02531)."""

    situation = Situation()  # Python keeps nothing

    def __init__(self, options: FixedOptions, setting: PolicySetting) -> None:
        self._temperatures = Temperatures.equal(torch.tensor(options.value, device=setting.device))

    def temperatures(self, observation: Observation) -> Temperatures:  # noqa: ARG002
        """The constant, 0-dim."""
        return self._temperatures
