"""Variational information distillation (arXiv 1904.05835)."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rlkd_run.config.methods import VIDOptions
from rlkd_run.methods.base import Setting
from rlkd_run.methods.features import FeatureMethod, of_one_size, stage_shapes, stages
from rlkd_run.protocol import Batch, Needs, Outputs

SMALLEST_VARIANCE = 1e-5


class GaussianRegression(nn.Module):
    """Negative log-likelihood of the teacher's map under a Gaussian around a regression from the student's.

    The mean is three 1x1 convolutions with ReLU in between; the variance is one trained value a teacher channel.

    Args:
        student: channels of the student's map.
        teacher: channels of the teacher's map.
        initial_variance: of every channel.
    """

    def __init__(self, student: int, teacher: int, initial_variance: float) -> None:
        super().__init__()
        self.mean = nn.Sequential(
            nn.Conv2d(student, teacher, 1, bias=False),
            nn.ReLU(),
            nn.Conv2d(teacher, teacher, 1, bias=False),
            nn.ReLU(),
            nn.Conv2d(teacher, teacher, 1, bias=False),
        )
        above = initial_variance - SMALLEST_VARIANCE
        start = above + math.log(-math.expm1(-above))  # the inverse of softplus
        self.log_scale = nn.Parameter(torch.full((teacher,), start))

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Mean of (m - t)^2 / (2 s^2) + ln(s^2) / 2, 0-dim.

        Args:
            student: [B, D_s, H_s, W_s].
            teacher: [B, D_t, H_t, W_t]; the larger map is averaged to the size of the smaller.
        """
        student, teacher = of_one_size(student, teacher)
        return gaussian_loss(self.mean(student), teacher, self.log_scale)


def gaussian_loss(mean: Tensor, target: Tensor, log_scale: Tensor) -> Tensor:
    """Mean negative log-likelihood without its constant, 0-dim.

    Args:
        mean: [B, D, H, W].
        target: [B, D, H, W].
        log_scale: [D]; the variance is softplus of it, and at least `SMALLEST_VARIANCE`.
    """
    variance = (F.softplus(log_scale) + SMALLEST_VARIANCE)[:, None, None]
    return 0.5 * ((mean - target).square() / variance + variance.log()).mean()


class VID(FeatureMethod):
    """The student's maps hold what is needed to tell the teacher's, in every stage."""

    needs: ClassVar[Needs] = Needs(maps=True)

    def __init__(self, options: VIDOptions, setting: Setting) -> None:
        super().__init__(options, setting)
        self.regressions = nn.ModuleList(
            GaussianRegression(student[0], teacher[0], options.initial_variance)
            for student, teacher in stage_shapes(setting)
        )

    def feature_loss(self, student: Outputs, teacher: Outputs, batch: Batch) -> Tensor:  # noqa: ARG002
        """Sum over the stages of `GaussianRegression`."""
        pairs = zip(self.regressions, stages(student.maps, teacher.maps), strict=True)
        return torch.stack([regression(*pair) for regression, pair in pairs]).sum()
