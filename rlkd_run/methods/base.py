"""What a base method is: named, weighted parts of a loss, from two networks' outputs and a temperature."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import Any, ClassVar, NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn

from rlkd_run import labels
from rlkd_run.protocol import Batch, Needs, Outputs, Temperatures
from rlkd_run.schedule import Phase


class Setting(NamedTuple):
    """What a method may need to know when it is built.

    Attributes:
        student: the student.
        teacher: the teacher.
        num_classes: C.
        num_images: N, images in the training set.
        image_shape: (channels, height, width) of an image.
        epochs: epochs of the run.
    """

    student: nn.Module
    teacher: nn.Module
    num_classes: int
    num_images: int
    image_shape: tuple[int, int, int]
    epochs: int


class Method(nn.Module):
    """A base method. Its own modules are trained with the student and saved, and left out of the exported student.

    Subclasses take ``(options, setting)`` and set `needs`; and `reads_epoch` to False if `forward` does not read the
    epoch's number (see `reads`).
    """

    needs: ClassVar[Needs] = Needs()
    reads_epoch: ClassVar[bool] = True

    def parameter_groups(self) -> list[dict[str, Any]]:
        """What the optimiser trains of the method's own: groups with ``params``, and ``lr`` if not the schedule's."""
        return [trained(self.parameters())]

    def phases(self) -> tuple[Phase, ...]:
        """The phases of the run, whose epochs sum to the run's; empty: one."""
        return ()

    def reads(self, epoch: int) -> Hashable:
        """What of the epoch's number is in the loss: a step that was captured on a GPU serves while this is the same.

        Nothing else but tensors may decide what `forward` does.
        """
        return epoch if self.reads_epoch else None

    def student_logits(self, outputs: Outputs) -> Tensor:
        """The student's logits as a temperature divides them, [B, C]; a method that transforms them overrides this.

        The loop shows these to the temperature policy before the update; `forward` is given the outputs as they are and
        takes the same step itself where it softens.
        """
        return outputs.logits

    def teacher_logits(self, outputs: Outputs) -> Tensor:
        """Likewise for the teacher; what trains a transform of its own keeps its graph."""
        return outputs.logits

    def forward(
        self, student: Outputs, teacher: Outputs, batch: Batch, temperatures: Temperatures, epoch: int
    ) -> dict[str, Tensor]:
        """Parts of the loss.

        Args:
            student: outputs with the features that `needs` asks for; attached to the graph.
            teacher: likewise, without gradient.
            batch: the mini-batch.
            temperatures: 0-dim or [B].
            epoch: from 1.

        Returns:
            Weighted 0-dim tensors by name; their sum is the loss.
        """
        raise NotImplementedError


def trained(parameters: Iterable[nn.Parameter]) -> dict[str, Any]:
    """A parameter group of those that take a gradient."""
    return {"params": [parameter for parameter in parameters if parameter.requires_grad]}


def cross_entropy(logits: Tensor, batch: Batch) -> Tensor:
    """Mean cross entropy of logits [B, C] with a batch's labels, as `labels.cross_entropy`."""
    return labels.cross_entropy(logits, batch.target, batch.mix)


def softened_divergence(teacher_logits: Tensor, student_logits: Tensor, temperatures: Temperatures) -> Tensor:
    """KL(softmax(v / T_t) || softmax(u / T_s)) of each instance, scaled by T_t * T_s.

    Source: Hinton et al., arXiv 1503.02531 (one T, scale T^2); per instance as in arXiv 2407.00115; two-sided as in
    arXiv 2404.12711.

    Args:
        teacher_logits: v, [B, C].
        student_logits: u, [B, C].
        temperatures: 0-dim or [B].

    Returns:
        [B].
    """
    teacher, student = (value.reshape(-1, 1) for value in temperatures)
    target = F.log_softmax(teacher_logits / teacher, dim=1)
    log_prob = F.log_softmax(student_logits / student, dim=1)
    divergence = F.kl_div(log_prob, target, reduction="none", log_target=True).sum(1)
    return divergence * (teacher * student).squeeze(1)
