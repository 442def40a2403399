"""Decoupled knowledge distillation (arXiv 2203.08679)."""

from __future__ import annotations

from collections.abc import Hashable

import torch
import torch.nn.functional as F
from torch import Tensor

from rlkd_run.config.methods import DKDOptions
from rlkd_run.errors import ConfigError
from rlkd_run.methods.base import Setting, cross_entropy
from rlkd_run.methods.logits import LogitMethod, warm_up
from rlkd_run.protocol import Batch, Outputs, Temperatures


class DKD(LogitMethod):
    """ce_weight * CE + min(e / W, 1) * mean_i T_t T_s (alpha * TCKD_i + beta * NCKD_i).

    Raises:
        ConfigError: two classes, of which one is the target and nothing can be told about the rest.
    """

    def __init__(self, options: DKDOptions, setting: Setting) -> None:
        super().__init__(standardise=options.standardise, ce_weight=options.ce_weight)
        if setting.num_classes < 3:
            raise ConfigError(
                f"method={options.name} compares the classes beside the target, which takes at least three classes; "
                f"the data set has {setting.num_classes}."
            )
        self.alpha = options.alpha
        self.beta = options.beta
        self.warmup_epochs = options.warmup_epochs

    def reads(self, epoch: int) -> Hashable:
        """See `Method.reads`: the factor of the warm-up."""
        return warm_up(epoch, self.warmup_epochs)

    def forward(
        self, student: Outputs, teacher: Outputs, batch: Batch, temperatures: Temperatures, epoch: int
    ) -> dict[str, Tensor]:
        """Parts ``ce``, ``tckd`` and ``nckd``; see `Method.forward`."""
        target, others = decoupled_divergences(
            self.teacher_logits(teacher), self.student_logits(student), batch.target, temperatures
        )
        factor = warm_up(epoch, self.warmup_epochs)
        return {
            "ce": self.ce_weight * cross_entropy(student.logits, batch),
            "tckd": factor * self.alpha * target.mean(),
            "nckd": factor * self.beta * others.mean(),
        }


def decoupled_divergences(
    teacher_logits: Tensor, student_logits: Tensor, target: Tensor, temperatures: Temperatures
) -> tuple[Tensor, Tensor]:
    """The two parts of KL(p || q) = TCKD + (1 - p_y) NCKD, with p = softmax(v / T_t) and q = softmax(u / T_s).

    TCKD = KL((p_y, 1 - p_y) || (q_y, 1 - q_y)); NCKD = KL of the two softmaxes over the classes other than y.

    Args:
        teacher_logits: v, [B, C].
        student_logits: u, [B, C].
        target: y, [B] int64.
        temperatures: 0-dim or [B].

    Returns:
        TCKD and NCKD of each instance, scaled by T_t * T_s, [B] each.
    """
    teacher_t, student_t = (value.reshape(-1, 1) for value in temperatures)
    teacher_pair, teacher_rest = _decoupled(teacher_logits / teacher_t, target)
    student_pair, student_rest = _decoupled(student_logits / student_t, target)
    scale = (teacher_t * student_t).squeeze(1)
    tckd = F.kl_div(student_pair, teacher_pair, reduction="none", log_target=True).sum(1)
    nckd = F.kl_div(student_rest, teacher_rest, reduction="none", log_target=True).sum(1)
    return scale * tckd, scale * nckd


def _decoupled(logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Log-probabilities (y, not y), [B, 2], and of the other classes given that it is not y, [B, C - 1].

    Everything stays a logarithm: neither a probability that underflows nor one that rounds to 1 makes an infinity.
    """
    y = target[:, None]
    place = torch.arange(logits.shape[1] - 1, device=logits.device)
    others = logits.gather(1, place + (place >= y).long())
    pair = torch.cat([logits.gather(1, y), others.logsumexp(1, keepdim=True)], dim=1)
    return pair.log_softmax(1), others.log_softmax(1)
