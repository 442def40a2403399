"""Transformed teacher matching (arXiv 2402.11148): the teacher's probabilities are transformed, the student's never."""

from __future__ import annotations

from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor

from rlkd_run.config.methods import TTMOptions
from rlkd_run.methods.base import Setting, cross_entropy
from rlkd_run.methods.logits import LogitMethod
from rlkd_run.protocol import Batch, Outputs, Temperatures


class TTM(LogitMethod):
    """ce_weight * CE + kl_weight * mean_i KL(p_i^gamma / sum p_i^gamma || softmax(u_i)), p = softmax(v).

    The power replaces the temperature (p^gamma, normalised, is softmax(gamma * v)), and the student is matched at
    T = 1, so that no temperature policy has anything to set. For gamma != 1 a student that equals its teacher has a
    loss.
    """

    reads_epoch: ClassVar[bool] = False

    def __init__(self, options: TTMOptions, setting: Setting) -> None:  # noqa: ARG002
        super().__init__(standardise=options.standardise, ce_weight=options.ce_weight)
        self.kl_weight = options.kl_weight
        self.gamma = options.gamma

    def forward(
        self,
        student: Outputs,
        teacher: Outputs,
        batch: Batch,
        temperatures: Temperatures,  # noqa: ARG002
        epoch: int,  # noqa: ARG002
    ) -> dict[str, Tensor]:
        """Parts ``ce`` and ``kl``; see `Method.forward`. The temperatures are not used."""
        v, u = self.teacher_logits(teacher), self.student_logits(student)
        target = F.log_softmax(self.gamma * v, dim=1)
        divergence = F.kl_div(F.log_softmax(u, dim=1), target, reduction="none", log_target=True).sum(1)
        return {
            "ce": self.ce_weight * cross_entropy(student.logits, batch),
            "kl": self.kl_weight * (self.instance_weights(v) * divergence).mean(),
        }

    def instance_weights(self, teacher_logits: Tensor) -> Tensor:
        """1 for every instance, [B]."""
        return teacher_logits.new_ones(teacher_logits.shape[0])
