"""Correlation congruence (arXiv 1904.01802), in the pairwise form of the CIFAR-100 literature."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from rlkd_run.config.methods import CCOptions
from rlkd_run.methods.base import Setting
from rlkd_run.methods.features import FeatureMethod, penultimate_widths, penultimates
from rlkd_run.protocol import Batch, Needs, Outputs


def congruence_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean over neighbours i, i+1 in the batch of sum_d D_i D_(i+1) with D = |student - teacher|, 0-dim.

    Args:
        student: embedded features, [B, D].
        teacher: likewise, [B, D].

    Returns:
        0 for a batch of one image, which has no neighbour.
    """
    difference = (student - teacher).abs()
    products = difference[:-1] * difference[1:]
    return products.sum() / max(len(products), 1)


class CC(FeatureMethod):
    """Both networks' penultimate features are embedded by a linear layer each, both of which are trained."""

    needs: ClassVar[Needs] = Needs(penultimate=True)

    def __init__(self, options: CCOptions, setting: Setting) -> None:
        super().__init__(options, setting)
        student, teacher = penultimate_widths(setting)
        self.embed_student = nn.Linear(student, options.embedding)
        self.embed_teacher = nn.Linear(teacher, options.embedding)

    def feature_loss(self, student: Outputs, teacher: Outputs, batch: Batch) -> Tensor:  # noqa: ARG002
        """See `congruence_loss`."""
        ours, theirs = penultimates(student, teacher)
        return congruence_loss(self.embed_student(ours), self.embed_teacher(theirs))
