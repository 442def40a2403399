"""Knowledge review (arXiv 2104.09044): stages fused by attention, compared on a pyramid of grids."""

from __future__ import annotations

from collections.abc import Hashable
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rlkd_run.config.methods import ReviewKDOptions
from rlkd_run.methods.base import Setting
from rlkd_run.methods.features import (
    BatchNorm,
    FeatureMethod,
    Shape,
    penultimate_widths,
    penultimates,
    shrunk,
    stage_shapes,
    stages,
)
from rlkd_run.methods.logits import warm_up
from rlkd_run.protocol import Batch, Needs, Outputs, Temperatures

GRIDS = (4, 2, 1)


def hierarchical_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean squared difference of two maps and of their averages over ever coarser grids, 0-dim.

    The map itself has weight 1, and each grid of 4, 2 and 1 that is coarser than the map half the weight of the one
    before; the weights are divided by their sum.

    Args:
        student: [B, D, H, W].
        teacher: [B, D, H, W].
    """
    height, width = teacher.shape[2:]
    weight, weights = 1.0, 1.0
    loss = F.mse_loss(student, teacher)
    for grid in GRIDS:
        if grid >= max(height, width):
            continue
        weight /= 2
        weights += weight
        size = (min(grid, height), min(grid, width))
        loss = loss + weight * F.mse_loss(shrunk(student, size), shrunk(teacher, size))
    return loss / weights


class Fusion(nn.Module):
    """Joins a student's map with what the deeper maps gave, and brings it to the teacher's channels.

    Args:
        student: channels of the student's map.
        width: channels of the fused map.
        teacher: channels of the teacher's map.
        deepest: whether nothing deeper comes in.
    """

    def __init__(self, student: int, width: int, teacher: int, *, deepest: bool) -> None:
        super().__init__()
        self.inward = nn.Sequential(nn.Conv2d(student, width, 1, bias=False), BatchNorm(width))
        self.attention = None if deepest else nn.Sequential(nn.Conv2d(2 * width, 2, 1), nn.Sigmoid())
        self.outward = nn.Sequential(nn.Conv2d(width, teacher, 3, padding=1, bias=False), BatchNorm(teacher))
        for layer in (self.inward[0], self.outward[0]):
            nn.init.kaiming_uniform_(layer.weight, a=1)  # type: ignore[arg-type]

    def forward(self, maps: Tensor, deeper: Tensor | None, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """One review.

        Args:
            maps: the student's, [B, D_s, H, W].
            deeper: the fused map of the stage below, [B, width, h, w]; None at the deepest.
            size: (height, width) of the teacher's map.

        Returns:
            What is compared with the teacher's map, [B, D_t, *size], and the fused map, [B, width, *size].
        """
        fused = self.inward(maps)
        if self.attention is not None and deeper is not None:
            deeper = F.interpolate(deeper, size=fused.shape[2:], mode="nearest")
            share = self.attention(torch.cat([fused, deeper], 1))
            fused = share[:, :1] * fused + share[:, 1:] * deeper
        if fused.shape[2:] != size:
            fused = F.interpolate(fused, size=size, mode="nearest")
        return self.outward(fused), fused


class ReviewKD(FeatureMethod):
    """The student's stages, each fused with all deeper ones, are compared with the teacher's.

    The student's maps are activated, the teacher's not yet, as in the authors' experiments; the last stage is followed
    by the penultimate feature, as a map of one pixel. Where the teacher does not say where its maps are before their
    activation (see `Needs.preactivations`) the maps are taken as they come, which the authors did not test.

    The feature loss grows to its full weight over the first epochs.
    """

    needs: ClassVar[Needs] = Needs(penultimate=True, maps=True, preactivations=True)

    def __init__(self, options: ReviewKDOptions, setting: Setting) -> None:
        super().__init__(options, setting)
        self.warmup_epochs = options.warmup_epochs
        student, teacher = penultimate_widths(setting)
        width = min(options.max_width, student)
        pairs: list[tuple[Shape, Shape]] = [*stage_shapes(setting), ((student, 1, 1), (teacher, 1, 1))]
        self.fusions = nn.ModuleList(
            Fusion(ours[0], width, theirs[0], deepest=depth == 0) for depth, (ours, theirs) in enumerate(pairs[::-1])
        )

    def feature_loss(self, student: Outputs, teacher: Outputs, batch: Batch) -> Tensor:  # noqa: ARG002
        """Sum over the penultimate feature and the stages, the deepest first, of `hierarchical_loss`."""
        ours, theirs = penultimates(student, teacher)
        pairs = [*stages(student.maps, teacher.preactivations), (ours[:, :, None, None], theirs[:, :, None, None])]
        losses, deeper = [], None
        for fusion, (maps, target) in zip(self.fusions, pairs[::-1], strict=True):
            compared, deeper = fusion(maps, deeper, target.shape[2:])
            losses.append(hierarchical_loss(compared, target))
        return torch.stack(losses).sum()

    def reads(self, epoch: int) -> Hashable:
        """See `Method.reads`: the factor of the warm-up."""
        return warm_up(epoch, self.warmup_epochs)

    def forward(
        self, student: Outputs, teacher: Outputs, batch: Batch, temperatures: Temperatures, epoch: int
    ) -> dict[str, Tensor]:
        """Part ``feature`` times min(epoch / warmup_epochs, 1); see `FeatureMethod.forward`."""
        parts = super().forward(student, teacher, batch, temperatures, epoch)
        parts["feature"] = parts["feature"] * warm_up(epoch, self.warmup_epochs)
        return parts
