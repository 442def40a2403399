"""DIST: correlations instead of a divergence (arXiv 2205.10536)."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from rlkd_run.config.methods import DISTOptions
from rlkd_run.methods.base import Setting, cross_entropy
from rlkd_run.methods.logits import LogitMethod
from rlkd_run.protocol import Batch, Outputs, Temperatures

_SMALLEST_NORM = 1e-4


class DIST(LogitMethod):
    """ce_weight * CE + inter_weight * T^2 (1 - mean_b rho(rows)) + intra_weight * T^2 (1 - mean_c rho(columns)).

    rho is Pearson's correlation between the softened probabilities of teacher and student, over the classes of an
    instance (rows) and over the instances of a class (columns). The columns say something from three instances on:
    over two, every correlation is 1 or -1; over one, there is none and the part is constant.

    With instance temperatures, each row is softened and scaled by its own; a column mixes instances, and the columns
    are scaled by the mean of T_t * T_s (ours: the paper has one temperature).
    """

    reads_epoch: ClassVar[bool] = False

    def __init__(self, options: DISTOptions, setting: Setting) -> None:  # noqa: ARG002
        super().__init__(standardise=options.standardise, ce_weight=options.ce_weight)
        self.inter_weight = options.inter_weight
        self.intra_weight = options.intra_weight

    def forward(
        self,
        student: Outputs,
        teacher: Outputs,
        batch: Batch,
        temperatures: Temperatures,
        epoch: int,  # noqa: ARG002
    ) -> dict[str, Tensor]:
        """Parts ``ce``, ``inter`` and ``intra``; see `Method.forward`."""
        inter, intra = correlation_losses(self.teacher_logits(teacher), self.student_logits(student), temperatures)
        return {
            "ce": self.ce_weight * cross_entropy(student.logits, batch),
            "inter": self.inter_weight * inter,
            "intra": self.intra_weight * intra,
        }


def correlation_losses(
    teacher_logits: Tensor, student_logits: Tensor, temperatures: Temperatures
) -> tuple[Tensor, Tensor]:
    """1 - Pearson's correlation over rows and over columns, scaled; 0-dim each.

    Args:
        teacher_logits: v, [B, C].
        student_logits: u, [B, C].
        temperatures: 0-dim or [B].
    """
    teacher_t, student_t = (value.reshape(-1, 1) for value in temperatures)
    p, q = (teacher_logits / teacher_t).softmax(1), (student_logits / student_t).softmax(1)
    scale = (teacher_t * student_t).squeeze(1)
    inter = (scale * (1 - _pearson(p, q, dim=1))).mean()
    intra = scale.mean() * (1 - _pearson(p, q, dim=0)).mean()
    return inter, intra


def _pearson(left: Tensor, right: Tensor, dim: int) -> Tensor:
    return (_unit(left, dim) * _unit(right, dim)).sum(dim)


def _unit(values: Tensor, dim: int) -> Tensor:
    """Centred and of norm 1. What hardly varies stays shorter, so that rounding is not blown up to a gradient."""
    centred = values - values.mean(dim, keepdim=True)
    norm: Tensor = torch.linalg.vector_norm(centred, dim=dim, keepdim=True)
    return centred / norm.clamp(min=_SMALLEST_NORM)
