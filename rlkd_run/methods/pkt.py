"""Probabilistic knowledge transfer (arXiv 1803.10837)."""

from __future__ import annotations

from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor

from rlkd_run.methods.features import FeatureMethod, penultimates
from rlkd_run.protocol import Batch, Needs, Outputs

EPSILON = 1e-7


def neighbour_probabilities(features: Tensor) -> Tensor:
    """How near each image's neighbours in the batch are: (cosine + 1) / 2, each row summing to 1.

    Args:
        features: [B, D].

    Returns:
        [B, B].
    """
    direction = F.normalize(features, dim=1, eps=EPSILON)
    nearness = (direction @ direction.T + 1) / 2
    return nearness / nearness.sum(1, keepdim=True)


def transfer_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean over the B^2 pairs of P_t ln((P_t + e) / (P_s + e)), 0-dim.

    Args:
        student: [B, D_s].
        teacher: [B, D_t].
    """
    ours, theirs = neighbour_probabilities(student), neighbour_probabilities(teacher)
    return (theirs * ((theirs + EPSILON) / (ours + EPSILON)).log()).mean()


class PKT(FeatureMethod):
    """The student's features have the teacher's neighbourhoods."""

    needs: ClassVar[Needs] = Needs(penultimate=True)

    def feature_loss(self, student: Outputs, teacher: Outputs, batch: Batch) -> Tensor:  # noqa: ARG002
        """See `transfer_loss`."""
        return transfer_loss(*penultimates(student, teacher))
