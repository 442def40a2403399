"""Hinton's knowledge distillation (arXiv 1503.02531), on logits as they are or standardised (arXiv 2403.01732)."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from rlkd_run.config.methods import KDOptions
from rlkd_run.methods.base import Setting, cross_entropy, softened_divergence
from rlkd_run.methods.logits import LogitMethod
from rlkd_run.protocol import Batch, Outputs, Temperatures


class KD(LogitMethod):
    """ce_weight * CE + kl_weight * mean_i T_i^2 KL(softmax(v_i / T_i) || softmax(u_i / T_i)).

    With ``standardise=true``, v and u are z-scores in the divergence: LSKD.
    """

    reads_epoch: ClassVar[bool] = False

    def __init__(self, options: KDOptions, setting: Setting) -> None:  # noqa: ARG002
        super().__init__(standardise=options.standardise, ce_weight=options.ce_weight)
        self.kl_weight = options.kl_weight

    def forward(
        self,
        student: Outputs,
        teacher: Outputs,
        batch: Batch,
        temperatures: Temperatures,
        epoch: int,  # noqa: ARG002
    ) -> dict[str, Tensor]:
        """Parts ``ce`` and ``kl``; see `Method.forward`."""
        divergence = softened_divergence(self.teacher_logits(teacher), self.student_logits(student), temperatures)
        return {
            "ce": self.ce_weight * cross_entropy(student.logits, batch),
            "kl": self.kl_weight * divergence.mean(),
        }
