"""What passes through one training step, from files on disk to the learning of the temperature policy.

    loader -> Batch -> teacher, student -> Outputs -> Observation -> policy -> Temperatures -> method -> loss parts
           -> optimiser -> Feedback -> policy

Shapes: B images a batch, C classes, N images in the training set. All tensors live on the run's device.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from rlkd_run.errors import ConfigError


class Mix(NamedTuple):
    """The second label of mixed images (RLKD's exploration).

    Attributes:
        target: labels of the images that contribute the smaller share, [B] int64.
        weight: share of `Batch.target`'s image, [B] float in [0.5, 1]; 1 where an image is not mixed.
        mixed: where an image is a mixture, [B] bool; also where the partner's share is all of it.
    """

    target: Tensor
    weight: Tensor
    mixed: Tensor


class Views(NamedTuple):
    """Which of the finite views (crop and flip) of the training images a batch shows.

    Attributes:
        host: position in the training set * views an image has + view, [B] int64 on the CPU.
        device: the same on the device.
    """

    host: Tensor
    device: Tensor


@dataclass(frozen=True, slots=True)
class Batch:
    """One mini-batch on the device.

    Attributes:
        images: normalised images, [B, 3, H, W] float32, in the memory layout of the networks.
        target: labels, [B] int64; of a mixed image, the label of the image with the larger share.
        index: positions in the training set, [B] int64; of a mixed image, of the image with the larger share.
        mix: the other labels in an exploration epoch whose labels are mixed, else None.
        views: None where images are mixed, or have no finite number of views.
    """

    images: Tensor
    target: Tensor
    index: Tensor
    mix: Mix | None = None
    views: Views | None = None


class MixPlan(NamedTuple):
    """Which training images are replaced by mixtures in an epoch; made by a policy, carried out by the loader.

    Image i becomes ``weight[i] * x[partner[i]] + (1 - weight[i]) * x[i]`` on raw pixels, before crop and flip.

    Attributes:
        partner: [N] int64; i itself where image i stays as it is.
        weight: [N] float32, share of the partner; 0 where image i stays as it is.
        labels: "mixed": both labels, weighted (`Batch.mix`), and `Batch.target` and `Batch.index` are those of the
            image with the larger share; "low": the label and index of image i whatever the shares (the authors' code).
    """

    partner: Tensor
    weight: Tensor
    labels: str = "mixed"

    def to(self, device: torch.device) -> MixPlan:
        """The plan on a device."""
        return self._replace(partner=self.partner.to(device), weight=self.weight.to(device))


class Needs(NamedTuple):
    """The features that a method reads; networks compute no others.

    Attributes:
        penultimate: the input of the classifier.
        maps: the output of the stem and of each stage.
        preactivations: the same maps before their last activation. A network that does not say where those are, or
            has no activation there, gives the maps themselves.
    """

    penultimate: bool = False
    maps: bool = False
    preactivations: bool = False


class Outputs(NamedTuple):
    """What a network gives for a batch.

    Attributes:
        logits: [B, C].
        penultimate: input of the classifier, [B, D]; None unless needed.
        maps: output of the stem, then of each stage, [B, D_k, H_k, W_k]; empty unless needed.
        preactivations: the same before the last activation, [B, D_k, H_k, W_k]; empty unless needed.
    """

    logits: Tensor
    penultimate: Tensor | None = None
    maps: tuple[Tensor, ...] = ()
    preactivations: tuple[Tensor, ...] = ()


class Temperatures(NamedTuple):
    """Temperatures of the teacher's and of the student's softmax: 0-dim or [B] tensors, > 0.

    Equal for all policies but the two-sided ones (DTKD); a loss is scaled by their product per instance.
    """

    teacher: Tensor
    student: Tensor

    @classmethod
    def equal(cls, value: Tensor) -> Temperatures:
        """The usual case: one temperature for both sides."""
        return cls(value, value)


@dataclass(frozen=True, slots=True)
class Observation:
    """What a temperature policy sees before the update of a step. Logits are attached to the graph.

    Attributes:
        teacher_logits: what the temperature will divide, standardised where the method standardises, [B, C].
        student_logits: likewise, [B, C].
        target: [B] int64.
        index: [B] int64.
        mix: as `Batch.mix`.
        position: of the batch in its epoch, from 0, on the device, [1] int64, where the step is captured; None
            elsewhere.
        raw: the logits as the networks gave them, teacher's and student's; None: they are those above.
        may_be_repeated: whether the policy has a `situation`, so that a GPU may repeat the step as it is now.
    """

    teacher_logits: Tensor
    student_logits: Tensor
    target: Tensor
    index: Tensor
    mix: Mix | None
    _epoch: int
    _step: int
    position: Tensor | None = None
    raw: tuple[Tensor, Tensor] | None = None
    may_be_repeated: bool = False

    @property
    def epoch(self) -> int:
        """From 1.

        Raises:
            ConfigError: the step may be repeated, in other epochs as well.
        """
        return self._unless_repeated(self._epoch, "epoch", "keep what begin_epoch is told in a tensor")

    @property
    def step(self) -> int:
        """Position of the batch in its epoch, from 0.

        Raises:
            ConfigError: the step may be repeated for other batches as well.
        """
        return self._unless_repeated(self._step, "step", "have observation.row_of take what was drawn for a step")

    def _unless_repeated(self, number: int, name: str, instead: str) -> int:
        if self.may_be_repeated:
            raise ConfigError(
                f"A temperature policy that has a situation must not read observation.{name}, which stays as it is "
                f"where a GPU repeats captured steps: {instead}, or leave situation out."
            )
        return number

    def row_of(self, drawn: Tensor) -> Tensor:
        """What was drawn for this step and its b instances: [b] of [steps, B]."""
        row = drawn[self._step] if self.position is None else drawn.index_select(0, self.position)[0]
        return row[: self.target.shape[0]]


class Situation(NamedTuple):
    """What Python, and no tensor, knows between two steps.

    A step that was captured on a GPU is repeated without Python, so its operations may depend on nothing but tensors
    and `key`, and what Python would have counted in it is added afterwards.

    Attributes:
        key: decides which operations the next step consists of.
        counts: numbers that go on from step to step and decide nothing.
    """

    key: Hashable = ()
    counts: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Feedback:
    """What a policy may ask for after the update of a step; nothing is computed unless it is called.

    Attributes:
        logits_again: student's logits of the same batch after the update, [B, C], never standardised; same mode as in
            training, but batch-norm statistics are left as they were.
        probe_loss: student's cross entropy on the fixed probe images in evaluation mode, 0-dim. Raises if the run
            set no probe images aside.
    """

    logits_again: Callable[[], Tensor]
    probe_loss: Callable[[], Tensor]
