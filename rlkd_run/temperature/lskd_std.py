"""Temperatures by the spread of the logits, after logit standardisation (LSKD, arXiv 2403.01732)."""

from __future__ import annotations

from torch import Tensor

from rlkd_run.config.temperatures import StdOptions
from rlkd_run.protocol import Observation, Situation, Temperatures
from rlkd_run.temperature.base import Policy, PolicySetting


class LogitStd(Policy):
    """T_t = base * std(v_i) and T_s = base * std(u_i), with C - 1 in the denominator.

    LSKD reads its z-score as a temperature for each network and instance: a softmax does not see the mean, so both
    softened distributions here are exactly LSKD's at T = base. Two things are ours. The loss is scaled by T_t * T_s,
    as with every policy, where LSKD scales by base^2: instances whose logits spread more weigh more. And the
    temperatures carry no gradient: attached, that scale would pay the student for flat logits. ``method=lskd`` is
    the published form.
    """

    situation = Situation()  # Python keeps nothing

    def __init__(self, options: StdOptions, setting: PolicySetting) -> None:  # noqa: ARG002
        self._base = options.base
        self._floor = options.floor

    def temperatures(self, observation: Observation) -> Temperatures:
        """[B] each, no graph."""
        return Temperatures(self._of(observation.teacher_logits), self._of(observation.student_logits))

    def _of(self, logits: Tensor) -> Tensor:
        return self._base * logits.detach().std(1).clamp(min=self._floor)
