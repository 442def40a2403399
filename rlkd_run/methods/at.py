"""Attention transfer (arXiv 1612.03928), with a mean over positions, as the CIFAR-100 literature runs it."""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from rlkd_run.config.methods import FeatureOptions
from rlkd_run.methods.base import Setting
from rlkd_run.methods.features import FeatureMethod, of_one_size, stage_shapes, stages
from rlkd_run.protocol import Batch, Needs, Outputs


def attention(maps: Tensor) -> Tensor:
    """Where a map is active: mean of the squares over the channels, of length 1, [B, D, H, W] -> [B, H W]."""
    return F.normalize(maps.square().mean(1).flatten(1), dim=1)


def attention_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean squared difference of two attentions, 0-dim; the larger map is averaged to the size of the smaller.

    Args:
        student: [B, D_s, H_s, W_s].
        teacher: [B, D_t, H_t, W_t].
    """
    student, teacher = of_one_size(student, teacher)
    return (attention(student) - attention(teacher)).square().mean()


class AT(FeatureMethod):
    """The student looks where the teacher looks, in every stage."""

    needs: ClassVar[Needs] = Needs(maps=True)

    def __init__(self, options: FeatureOptions, setting: Setting) -> None:
        super().__init__(options, setting)
        stage_shapes(setting)  # refuses networks without stages

    def feature_loss(self, student: Outputs, teacher: Outputs, batch: Batch) -> Tensor:  # noqa: ARG002
        """Sum over the stages of `attention_loss`."""
        return torch.stack([attention_loss(*pair) for pair in stages(student.maps, teacher.maps)]).sum()
