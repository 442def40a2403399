"""Relational knowledge distillation (arXiv 1904.05068)."""

from __future__ import annotations

from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor

from rlkd_run.config.methods import RKDOptions
from rlkd_run.methods.base import Setting
from rlkd_run.methods.features import FeatureMethod, penultimates
from rlkd_run.protocol import Batch, Needs, Outputs

SMALLEST_SQUARE = 1e-12


def differences(features: Tensor) -> Tensor:
    """Difference of every two images, [B, D] -> [B, B, D]."""
    return features[None] - features[:, None]


def distances(difference: Tensor) -> Tensor:
    """Distance of every two images in units of the batch's mean over pairs of different images.

    Args:
        difference: [B, B, D].

    Returns:
        [B, B], 0 on the diagonal.
    """
    count = len(difference)
    # Bounded below, as the root has no gradient at 0.
    distance = difference.square().sum(2).clamp_min(SMALLEST_SQUARE).sqrt()
    distance = distance - distance.diagonal().diag()
    mean = distance.sum() / max(count * (count - 1), 1)
    return distance / mean.clamp_min(SMALLEST_SQUARE)


def angles(difference: Tensor) -> Tensor:
    """Cosine of the angle at image i between images j and k, for all ordered triples, [B, B, D] -> [B, B, B]."""
    direction = F.normalize(difference, dim=2)
    return direction @ direction.transpose(1, 2)


def distance_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Huber difference of `distances`, mean over all pairs, 0-dim; differences [B, B, D_s] and [B, B, D_t]."""
    return F.smooth_l1_loss(distances(student), distances(teacher))


def angle_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Huber difference of `angles`, mean over all triples, 0-dim; differences [B, B, D_s] and [B, B, D_t]."""
    return F.smooth_l1_loss(angles(student), angles(teacher))


class RKD(FeatureMethod):
    """Distances and angles among the student's penultimate features are those among the teacher's."""

    needs: ClassVar[Needs] = Needs(penultimate=True)

    def __init__(self, options: RKDOptions, setting: Setting) -> None:
        super().__init__(options, setting)
        self.distance_weight = options.distance_weight
        self.angle_weight = options.angle_weight

    def feature_loss(self, student: Outputs, teacher: Outputs, batch: Batch) -> Tensor:  # noqa: ARG002
        """distance_weight * `distance_loss` + angle_weight * `angle_loss`."""
        ours, theirs = (differences(features) for features in penultimates(student, teacher))
        return self.distance_weight * distance_loss(ours, theirs) + self.angle_weight * angle_loss(ours, theirs)
