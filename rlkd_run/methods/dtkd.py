"""The whole objective of dynamic temperature distillation (arXiv 2404.12711)."""

from __future__ import annotations

from collections.abc import Hashable

import torch
from torch import Tensor

from rlkd_run.config.methods import DTKDOptions
from rlkd_run.methods.base import Setting, cross_entropy, softened_divergence
from rlkd_run.methods.logits import LogitMethod, warm_up
from rlkd_run.protocol import Batch, Outputs, Temperatures


class DTKD(LogitMethod):
    """ce_weight * CE + min(e / W, 1) * (alpha * KL at the policy's temperatures + beta * KL at the constant tau).

    Both divergences carry their scale T_t * T_s. The first one is the paper's under ``temperature=dtkd``, and any
    other policy's under that policy.
    """

    tau: Tensor

    def __init__(self, options: DTKDOptions, setting: Setting) -> None:  # noqa: ARG002
        super().__init__(standardise=options.standardise, ce_weight=options.ce_weight)
        self.alpha = options.alpha
        self.beta = options.beta
        self.warmup_epochs = options.warmup_epochs
        self.register_buffer("tau", torch.tensor(options.tau), persistent=False)

    def reads(self, epoch: int) -> Hashable:
        """See `Method.reads`: the factor of the warm-up."""
        return warm_up(epoch, self.warmup_epochs)

    def forward(
        self, student: Outputs, teacher: Outputs, batch: Batch, temperatures: Temperatures, epoch: int
    ) -> dict[str, Tensor]:
        """Parts ``ce``, ``dynamic`` and ``kl``; see `Method.forward`."""
        v, u = self.teacher_logits(teacher), self.student_logits(student)
        factor = warm_up(epoch, self.warmup_epochs)
        return {
            "ce": self.ce_weight * cross_entropy(student.logits, batch),
            "dynamic": factor * self.alpha * softened_divergence(v, u, temperatures).mean(),
            "kl": factor * self.beta * softened_divergence(v, u, Temperatures.equal(self.tau)).mean(),
        }
