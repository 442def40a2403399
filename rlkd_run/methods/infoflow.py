"""Information-flow modelling (arXiv 2005.00727): the neighbourhoods of all stages, the early ones in early epochs."""

from __future__ import annotations

from collections.abc import Hashable
from typing import ClassVar

import torch
from torch import Tensor

from rlkd_run.config.methods import InfoFlowOptions
from rlkd_run.methods.base import Setting
from rlkd_run.methods.features import FeatureMethod, penultimates, stage_shapes, stages
from rlkd_run.protocol import Batch, Needs, Outputs, Temperatures

EPSILON = 1e-6


def kernels(features: Tensor) -> tuple[Tensor, Tensor]:
    """How near any two images of a batch are: (cosine + 1) / 2 and 1 / (1 + distance), float64, in (0, 1].

    Both come from one product of the features, as the differences of wide maps would take [B, B, D]. It is in float64:
    distances taken from products cancel in float32, and opposite features would reach a cosine kernel of 0, which has
    no logarithm; here the epsilon keeps it above.

    Args:
        features: [B, D].

    Returns:
        The cosine kernel and the student-t kernel, [B, B] each.
    """
    features = features.double()
    product = features @ features.T
    length = torch.linalg.vector_norm(features, dim=1) + EPSILON
    cosine = product / (length[:, None] * length)
    square = product.diagonal()
    distance = ((square[:, None] + square - 2 * product).clamp_min(0) + EPSILON).sqrt()
    return (cosine + 1) / 2, 1 / (1 + distance)


def jeffreys_divergence(first: Tensor, second: Tensor) -> Tensor:
    """Mean over the B^2 pairs of (P - Q)(ln P - ln Q), 0-dim, where P and Q are the kernels with rows that sum to 1.

    Args:
        first: [B, B], > 0.
        second: [B, B], > 0.
    """
    p, q = (kernel / kernel.sum(1, keepdim=True) for kernel in (first, second))
    return ((p - q) * (p.log() - q.log())).mean()


def layer_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """`jeffreys_divergence` of the cosine kernels plus that of the student-t kernels, 0-dim.

    Args:
        student: features or maps, [B, ...].
        teacher: likewise, of any other width.
    """
    pairs = zip(kernels(student.flatten(1)), kernels(teacher.flatten(1)), strict=True)
    return torch.stack([jeffreys_divergence(*pair) for pair in pairs]).sum().to(student.dtype)


class InfoFlow(FeatureMethod):
    """The student's features have the teacher's neighbourhoods, in every stage.

    The stages count most in the first epochs, the critical period in which a network's flow of information settles.
    """

    needs: ClassVar[Needs] = Needs(penultimate=True, maps=True)

    def __init__(self, options: InfoFlowOptions, setting: Setting) -> None:
        super().__init__(options, setting)
        stage_shapes(setting)  # refuses networks without stages
        self.critical_weight = options.critical_weight
        self.decay = options.decay
        self.decay_epochs = options.decay_epochs

    def stage_weight(self, epoch: int) -> float:
        """Weight of the stages' losses in an epoch, counted from 1; the penultimate features' is 1."""
        weight: float = self.critical_weight * self.decay ** ((epoch - 1) / self.decay_epochs)
        return weight

    def feature_loss(self, student: Outputs, teacher: Outputs, batch: Batch) -> Tensor:  # noqa: ARG002
        """`layer_loss` of the penultimate features."""
        return layer_loss(*penultimates(student, teacher))

    def reads(self, epoch: int) -> Hashable:
        """See `Method.reads`: the weight of the stages."""
        return self.stage_weight(epoch)

    def forward(
        self, student: Outputs, teacher: Outputs, batch: Batch, temperatures: Temperatures, epoch: int
    ) -> dict[str, Tensor]:
        """Part ``feature`` with the sum over the stages too, times `stage_weight`; see `FeatureMethod.forward`."""
        parts = super().forward(student, teacher, batch, temperatures, epoch)
        flow = torch.stack([layer_loss(*pair) for pair in stages(student.maps, teacher.maps)]).sum()
        parts["feature"] = parts["feature"] + self.feature_weight * self.stage_weight(epoch) * flow
        return parts
