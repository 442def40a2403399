"""Contrastive representation distillation (arXiv 1910.10699), with a memory of all images."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rlkd_run.any_order import any_order
from rlkd_run.config.methods import CRDOptions
from rlkd_run.errors import ConfigError
from rlkd_run.methods.base import Setting
from rlkd_run.methods.features import FeatureMethod, penultimate_widths, penultimates
from rlkd_run.protocol import Batch, Needs, Outputs

EPSILON = 1e-7
UNKNOWN = -1  # class of an image that has not been met
_MANY = 2**62


def contrastive_loss(probabilities: Tensor, num_images: int) -> Tensor:
    """Noise-contrastive estimation of one positive against K negatives, drawn from N images alike; 0-dim.

    -(1/B) sum_b [ln(P_0 / (P_0 + K/N)) + sum_k ln((K/N) / (P_k + K/N))].

    Args:
        probabilities: P, [B, 1 + K]; the positive first.
        num_images: N.
    """
    noise = (probabilities.shape[1] - 1) / num_images
    positive, negative = probabilities[:, 0], probabilities[:, 1:]
    found = (positive / (positive + noise + EPSILON)).log().sum()
    told_apart = (noise / (negative + noise + EPSILON)).log().sum()
    return -(found + told_apart) / len(probabilities)


class _WithGradient(torch.autograd.Function):
    """A number whose gradient towards a tensor is already known."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, anchor: Tensor, gradient: Tensor) -> Tensor:  # noqa: ARG004
        """`value` itself; `gradient` is that towards `anchor`."""
        ctx.save_for_backward(gradient)
        return value.clone()

    @staticmethod
    def backward(ctx: Any, *outer: Tensor) -> tuple[None, Tensor, None]:
        """The chain rule."""
        return None, outer[0] * ctx.saved_tensors[0], None


class CRD(FeatureMethod):
    """Each network's embedded feature of an image is told from the other's remembered features of other classes.

    The positive is the other network's remembered feature of the same image, negatives are drawn evenly from all images
    of other classes (for the classes of images not met yet, see `_draw`); with replacement, which is ours: RepDistiller
    draws no image twice while there are enough, for the same expected loss. Both embeddings are trained; a row of a
    memory moves towards the embedding whenever its image is met.

    Everything that is drawn or remembered lives on the device: the memories, the classes and the two constants are
    buffers, so a resumed run goes on with them.
    """

    needs: ClassVar[Needs] = Needs(penultimate=True)

    student_memory: Tensor
    teacher_memory: Tensor
    classes: Tensor
    normalisers: Tensor

    def __init__(self, options: CRDOptions, setting: Setting) -> None:
        super().__init__(options, setting)
        if setting.num_classes < 2:
            raise ConfigError("method=crd tells images of one class from those of others, and there is only one class.")
        self.negatives = options.negatives
        self.temperature = options.nce_temperature
        self.momentum = options.memory_momentum
        student, teacher = penultimate_widths(setting)
        self.embed_student = nn.Linear(student, options.embedding)
        self.embed_teacher = nn.Linear(teacher, options.embedding)
        # Rows of length 1 on average.
        bound = (3 / options.embedding) ** 0.5
        shape = (setting.num_images, options.embedding)
        self.register_buffer("student_memory", torch.empty(shape).uniform_(-bound, bound))
        self.register_buffer("teacher_memory", torch.empty(shape).uniform_(-bound, bound))
        self.register_buffer("classes", torch.full((setting.num_images,), UNKNOWN))
        self.register_buffer("normalisers", torch.zeros(2))  # 0: not set yet

    def feature_loss(self, student: Outputs, teacher: Outputs, batch: Batch) -> Tensor:
        """Sum of the losses of the student's and of the teacher's features; renews the memories."""
        features = penultimates(student, teacher)
        ours = F.normalize(self.embed_student(features[0]), dim=1)
        theirs = F.normalize(self.embed_teacher(features[1]), dim=1)
        with torch.no_grad():
            with any_order():  # an image that comes twice has the same label twice
                self.classes.index_copy_(0, batch.index, batch.target)
            chosen = torch.cat([batch.index[:, None], self._draw(batch.target)], 1)
        loss = self._contrast(ours, self.teacher_memory, chosen, self.normalisers[0])
        loss = loss + self._contrast(theirs, self.student_memory, chosen, self.normalisers[1])
        self._remember(batch.index, ours.detach(), theirs.detach())
        return loss

    def _draw(self, target: Tensor) -> Tensor:
        """K images of other classes for each image, [B, K].

        The images are lined up by class, and a position is drawn among those outside of the image's own class. An
        image that has not been met counts as of another class: its rows are still random, so they know of no class.

        Args:
            target: labels, [B].
        """
        ordered, images = self.classes.sort(stable=True)
        start = torch.searchsorted(ordered, target)[:, None]
        end = torch.searchsorted(ordered, target, right=True)[:, None]
        others = (len(images) - (end - start)).clamp_min(1)
        position = torch.randint(_MANY, (len(target), self.negatives), device=target.device) % others
        position = torch.where(position < start, position, position + (end - start))
        # The bound matters only where all images that exist are of one class.
        return images[position.clamp_max(len(images) - 1)]

    def _contrast(self, anchor: Tensor, memory: Tensor, chosen: Tensor, normaliser: Tensor) -> Tensor:
        """Loss of features against rows of the other network's memory; sets the constant on the first batch.

        All similarities are computed, and then the chosen ones picked: one product of N rows costs far less than
        fetching B (1 + K) rows. The gradient is taken at once, because the memory is about to change.

        Args:
            anchor: [B, D], of length 1.
            memory: [N, D].
            chosen: rows to compare with, [B, 1 + K]; the positive first.
            normaliser: Z, 0-dim view of the buffer.
        """
        num_images = len(memory)
        with torch.no_grad():
            picked = (anchor @ memory.T).gather(1, chosen)
            first = (picked / self.temperature).exp().mean() * num_images
            normaliser.copy_(torch.where(normaliser > 0, normaliser, first))
        with torch.enable_grad():
            picked.requires_grad_()
            probabilities = (picked / self.temperature).exp() / normaliser.detach().clone()
            loss = contrastive_loss(probabilities, num_images)
            (slope,) = torch.autograd.grad(loss, picked)
        # A row that was drawn twice has the same slope twice, so the order of the sum cannot change a bit.
        with any_order():
            slopes = slope.new_zeros(len(anchor), num_images).scatter_add_(1, chosen, slope)
        attached: Tensor = _WithGradient.apply(loss.detach(), anchor, slopes @ memory)
        return attached

    @torch.no_grad()
    def _remember(self, index: Tensor, ours: Tensor, theirs: Tensor) -> None:
        """Move the rows `index` [B] of both memories towards new features, [B, D] each; the rows have length 1 after.

        An image that is in the batch twice (a mixed epoch may hold one so) is remembered as it came last, whatever
        order the device writes in.
        """
        position = torch.arange(len(index), device=index.device)
        last = torch.where(index[:, None] == index, position, 0).amax(1)
        for memory, features in ((self.student_memory, ours), (self.teacher_memory, theirs)):
            moved = torch.lerp(features, memory[index], self.momentum)
            with any_order():
                memory.index_copy_(0, index, F.normalize(moved, dim=1)[last])
