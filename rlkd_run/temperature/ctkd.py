"""Curriculum temperature (CTKD, arXiv 2211.16231): one temperature for all, learnt against the student."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from rlkd_run.config.temperatures import CTKDOptions
from rlkd_run.protocol import MixPlan, Observation, Situation, Temperatures
from rlkd_run.temperature.base import Policy, PolicySetting


def scale_gradient(value: Tensor, factor: Tensor) -> Tensor:
    """`value` forwards, `factor` times the gradient backwards; a negative factor reverses it.

    Args:
        value: finite, any shape; the difference below is then exactly 0.
        factor: 0-dim, no gradient.
    """
    return value.detach() + factor * (value - value.detach())


def curriculum(epoch: int, loops: int, strength: float = 1.0) -> float:
    """Factor of the gradient in epoch `epoch` (from 1): from 0 down to -strength in epoch `loops`, on a cosine.

    -strength * (1 - cos(pi * min(e, N) / N)) / 2: the difficulty of the paper's easy-to-hard curriculum.
    """
    return -strength * (1 - math.cos(math.pi * min(epoch, loops) / loops)) / 2


class AdversarialTemperature(Policy):
    """T = t_start + t_range * sigmoid(r), with r trained to raise the loss that the student lowers.

    The run's optimiser trains r with the student's learning rate and weight decay (which pulls r to 0); the reversed
    gradient flows through both softmaxes and through the scale T^2. It grows over the first `loops` epochs. T stays
    in (t_start, t_start + t_range). Subclasses say where r comes from.
    """

    module: nn.Module

    situation = Situation()  # Python keeps nothing

    def __init__(self, options: CTKDOptions, setting: PolicySetting) -> None:
        self._options = options
        self._device = setting.device
        self._factor = torch.zeros((), device=setting.device)

    def raw(self, observation: Observation) -> Tensor:
        """r, 0-dim or [B]."""
        raise NotImplementedError

    def begin_epoch(self, epoch: int) -> MixPlan | None:
        """Set the epoch's factor of the gradient."""
        self._factor.fill_(curriculum(epoch, self._options.loops, self._options.strength))
        return None

    def temperatures(self, observation: Observation) -> Temperatures:
        """0-dim or [B], with the graph to r."""
        raw = scale_gradient(self.raw(observation), self._factor)
        return Temperatures.equal(self._options.t_start + self._options.t_range * raw.sigmoid())

    def trainables(self) -> list[nn.Parameter]:
        """What r is made of."""
        return list(self.module.parameters())

    def metrics(self) -> dict[str, Tensor]:
        """ctkd_gradient_factor: the epoch's."""
        return {"ctkd_gradient_factor": self._factor}


class CTKD(AdversarialTemperature):
    """The paper's default: r is one number."""

    def __init__(self, options: CTKDOptions, setting: PolicySetting) -> None:
        super().__init__(options, setting)
        self.value = nn.Parameter(torch.tensor(options.initial, device=setting.device))
        self.module = nn.ParameterDict({"raw": self.value})

    def raw(self, observation: Observation) -> Tensor:  # noqa: ARG002
        """r, 0-dim."""
        return self.value
