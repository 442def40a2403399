"""Hinton's knowledge distillation (arXiv 1503.02531)."""

from __future__ import annotations

from torch import Tensor

from rlkd_run.config.methods import KDOptions
from rlkd_run.methods.base import Method, Setting, cross_entropy, softened_divergence
from rlkd_run.protocol import Batch, Outputs, Temperatures


class KD(Method):
    """ce_weight * CE + kl_weight * mean_i T_i^2 KL(softmax(v_i / T_i) || softmax(u_i / T_i))."""

    def __init__(self, options: KDOptions, setting: Setting) -> None:  # noqa: ARG002
        super().__init__()
        self.ce_weight = options.ce_weight
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
        divergence = softened_divergence(teacher.logits, student.logits, temperatures)
        return {
            "ce": self.ce_weight * cross_entropy(student.logits, batch),
            "kl": self.kl_weight * divergence.mean(),
        }
