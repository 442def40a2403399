"""Dynamic temperatures (DTKD, arXiv 2404.12711): the sharper network of the two gets the higher temperature."""

from __future__ import annotations

from rlkd_run.config.temperatures import DTKDPolicyOptions
from rlkd_run.protocol import Observation, Situation, Temperatures
from rlkd_run.temperature.base import Policy, PolicySetting


class DTKD(Policy):
    """T_t = 2 tau x / (x + s) and T_s = 2 tau s / (x + s), with x and s the largest logits of teacher and student.

    Both largest logits divided by their temperatures are then equal, and T_t + T_s = 2 tau. The authors note that the
    derivation of the formula is wrong: take it as a heuristic. It depends on where the logits' zero lies, which a
    softmax does not, and has no meaning where a largest logit is not positive: both are clamped to `floor` (ours).

    The temperatures are not detached: as in the paper, the student's gradient also flows through s.
    """

    situation = Situation()  # Python keeps nothing

    def __init__(self, options: DTKDPolicyOptions, setting: PolicySetting) -> None:  # noqa: ARG002
        self._tau = options.tau
        self._floor = options.floor

    def temperatures(self, observation: Observation) -> Temperatures:
        """[B] each, with the graph to the student's logits."""
        x = observation.teacher_logits.amax(1).clamp(min=self._floor)
        s = observation.student_logits.amax(1).clamp(min=self._floor)
        share = 2 * self._tau / (x + s)
        return Temperatures(share * x, share * s)
