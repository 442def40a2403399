"""Neuron selectivity transfer with a polynomial kernel (arXiv 1707.01219)."""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from rlkd_run.config.methods import FeatureOptions
from rlkd_run.methods.base import Setting
from rlkd_run.methods.features import FeatureMethod, of_one_size, stage_shapes, stages
from rlkd_run.protocol import Batch, Needs, Outputs


def mean_kernel(first: Tensor, second: Tensor) -> Tensor:
    """Mean of (a . b)^2 over images and all pairs of channels a, b, 0-dim.

    Args:
        first: [B, D_1, P].
        second: [B, D_2, P].
    """
    return (first @ second.transpose(1, 2)).square().mean()


def selectivity_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Squared maximum mean discrepancy between two sets of channels, 0-dim.

    Args:
        student: [B, D_s, H_s, W_s].
        teacher: [B, D_t, H_t, W_t]; the larger map is averaged to the size of the smaller.
    """
    ours, theirs = (F.normalize(maps.flatten(2), dim=2) for maps in of_one_size(student, teacher))
    return mean_kernel(theirs, theirs) + mean_kernel(ours, ours) - 2 * mean_kernel(ours, theirs)


class NST(FeatureMethod):
    """The student's channels answer to the same places as the teacher's, in every stage."""

    needs: ClassVar[Needs] = Needs(maps=True)

    def __init__(self, options: FeatureOptions, setting: Setting) -> None:
        super().__init__(options, setting)
        stage_shapes(setting)  # refuses networks without stages

    def feature_loss(self, student: Outputs, teacher: Outputs, batch: Batch) -> Tensor:  # noqa: ARG002
        """Sum over the stages of `selectivity_loss`."""
        return torch.stack([selectivity_loss(*pair) for pair in stages(student.maps, teacher.maps)]).sum()
