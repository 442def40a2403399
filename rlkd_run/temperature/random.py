"""Random temperatures: the control for RLKD, its agent's law without its learning."""

from __future__ import annotations

import torch

from rlkd_run.agent.actor_critic import squash
from rlkd_run.config.temperatures import RandomOptions
from rlkd_run.protocol import MixPlan, Observation, Situation, Temperatures
from rlkd_run.seeding import derive_seed
from rlkd_run.temperature.base import Policy, PolicySetting


class Random(Policy):
    """T_i = T_min + (T_max - T_min) * sigmoid(z_i), drawn anew for every instance of every step, with no learning.

    Range, warm-up and law come from the group `agent`. Images are never mixed here: only from RLKD without exploration
    (``agent.exploration.epochs=none``) does a run differ in nothing but what RLKD's agent learns.
    Law ``policy_init``: z ~ N(0, exp(log_std_start)^2), the policy before its first update; an untrained actor's mean
    is close to 0 in every state, and is taken to be 0. Law ``uniform``: T uniform over the range.
    """

    situation = Situation()  # Python keeps nothing

    def __init__(self, options: RandomOptions, setting: PolicySetting) -> None:
        self._law = options.law
        self._agent = setting.config.agent
        self._seed = setting.config.seed
        shape = (setting.steps_per_epoch, setting.config.recipe.batch_size)
        self._drawn = torch.full(shape, self._agent.warmup_temperature, device=setting.device)

    def begin_epoch(self, epoch: int) -> MixPlan | None:
        """Draw the whole epoch at once, a function of seed and epoch alone, so that a resume can redraw it."""
        if epoch < self._agent.warmup_epochs:
            self._drawn.fill_(self._agent.warmup_temperature)
            return None
        # On the CPU, so that every device sees the same temperatures.
        generator = torch.Generator().manual_seed(derive_seed(self._seed, "temperature", epoch))
        t_min, t_max = self._agent.t_min, self._agent.t_max
        if self._law == "uniform":
            drawn = t_min + (t_max - t_min) * torch.rand(self._drawn.shape, generator=generator)
        else:
            std = torch.tensor(self._agent.log_std_start).exp()
            drawn = squash(std * torch.randn(self._drawn.shape, generator=generator), t_min, t_max)
        self._drawn.copy_(drawn)
        return None

    def temperatures(self, observation: Observation) -> Temperatures:
        """This step's draws, [B]."""
        return Temperatures.equal(observation.row_of(self._drawn))
