"""Similarity-preserving distillation (arXiv 1907.09682)."""

from __future__ import annotations

from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor

from rlkd_run.config.methods import FeatureOptions
from rlkd_run.methods.base import Setting
from rlkd_run.methods.features import FeatureMethod, stage_shapes, stages
from rlkd_run.protocol import Batch, Needs, Outputs


def similarities(features: Tensor) -> Tensor:
    """Inner products of the images of a batch, each row of length 1, [B, ...] -> [B, B]."""
    rows = features.flatten(1)
    return F.normalize(rows @ rows.T, dim=1)


def similarity_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean squared difference of two similarity matrices, 0-dim.

    Args:
        student: [B, ...].
        teacher: [B, ...]; its other dimensions may differ.
    """
    return (similarities(student) - similarities(teacher)).square().mean()


class SP(FeatureMethod):
    """Images that are alike to the teacher's last stage are alike to the student's."""

    needs: ClassVar[Needs] = Needs(maps=True)

    def __init__(self, options: FeatureOptions, setting: Setting) -> None:
        super().__init__(options, setting)
        stage_shapes(setting)  # refuses networks without stages

    def feature_loss(self, student: Outputs, teacher: Outputs, batch: Batch) -> Tensor:  # noqa: ARG002
        """See `similarity_loss`."""
        return similarity_loss(*stages(student.maps, teacher.maps)[-1])
