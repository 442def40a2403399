"""What the methods that compare features share: their form, which features belong together, and maps of one size."""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rlkd_run.config.methods import FeatureOptions
from rlkd_run.errors import ConfigError, about
from rlkd_run.methods.base import Setting, cross_entropy, softened_divergence
from rlkd_run.methods.logits import LogitMethod
from rlkd_run.models.features import Network
from rlkd_run.protocol import Batch, Outputs, Temperatures

Shape = tuple[int, int, int]


class FeatureMethod(LogitMethod):
    """ce_weight * CE + kl_weight * KL_T + feature_weight * feature loss.

    The form in which RLKD and CTKD use feature methods: the KL term carries the instance temperatures. With
    ``kl_weight=0`` and ``ce_weight=1`` it is the stand-alone form of RepDistiller. Subclasses give `feature_loss`.
    """

    reads_epoch: ClassVar[bool] = False

    def __init__(self, options: FeatureOptions, setting: Setting) -> None:  # noqa: ARG002
        super().__init__(standardise=options.standardise, ce_weight=options.ce_weight)
        self.kl_weight = options.kl_weight
        self.feature_weight = options.feature_weight

    def feature_loss(self, student: Outputs, teacher: Outputs, batch: Batch) -> Tensor:
        """The method's own loss, 0-dim, before its weight."""
        raise NotImplementedError

    def forward(
        self,
        student: Outputs,
        teacher: Outputs,
        batch: Batch,
        temperatures: Temperatures,
        epoch: int,  # noqa: ARG002
    ) -> dict[str, Tensor]:
        """Parts ``ce``, ``kl`` (unless its weight is 0) and ``feature``; see `Method.forward`."""
        parts = {"ce": self.ce_weight * cross_entropy(student.logits, batch)}
        if self.kl_weight:
            v, u = self.teacher_logits(teacher), self.student_logits(student)
            parts["kl"] = self.kl_weight * softened_divergence(v, u, temperatures).mean()
        parts["feature"] = self.feature_weight * self.feature_loss(student, teacher, batch)
        return parts


def map_shapes(setting: Setting) -> tuple[tuple[Shape, ...], tuple[Shape, ...]]:
    """Shapes (D_k, H_k, W_k) of the student's and of the teacher's maps.

    Raises:
        ConfigError: a network has no spatial maps.
    """
    return (
        _map_shapes("student.model", setting.student, setting.image_shape),
        _map_shapes("teacher.model", setting.teacher, setting.image_shape),
    )


def _map_shapes(key: str, model: nn.Module, image_shape: Shape) -> tuple[Shape, ...]:
    with about(key), Network(model) as network:
        return network.map_shapes(image_shape)


def stage_shapes(setting: Setting) -> list[tuple[Shape, Shape]]:
    """Shapes of the maps that `stages` pairs: (student's, teacher's).

    Raises:
        ConfigError: a network has no spatial maps, or none after its first.
    """
    student, teacher = map_shapes(setting)
    for key, shapes in (("student.model", student), ("teacher.model", teacher)):
        if len(shapes) < 2:
            raise ConfigError(
                f"{key} has no feature map after its first, so a method that compares stages needs another model"
            )
    return _from_the_deepest(student, teacher)


def stages(student: tuple[Tensor, ...], teacher: tuple[Tensor, ...]) -> list[tuple[Tensor, Tensor]]:
    """The maps of the stages in pairs, without the stem's; the deepest belong together.

    Networks of different depth are compared on the last stages of the deeper one.

    Args:
        student: maps of the stem and of each stage, [B, D_k, H_k, W_k].
        teacher: likewise.
    """
    return _from_the_deepest(student, teacher)


def _from_the_deepest(student: tuple, teacher: tuple) -> list:  # type: ignore[type-arg]
    count = min(len(student), len(teacher)) - 1
    return list(zip(student[-count:], teacher[-count:], strict=True))


def penultimate_widths(setting: Setting) -> tuple[int, int]:
    """Widths of the student's and of the teacher's penultimate feature.

    Raises:
        ConfigError: a network does not end in one linear layer.
    """
    return _width("student.model", setting.student), _width("teacher.model", setting.teacher)


def _width(key: str, model: nn.Module) -> int:
    with about(key), Network(model) as network:
        return network.penultimate_width


def penultimates(student: Outputs, teacher: Outputs) -> tuple[Tensor, Tensor]:
    """Both networks' penultimate features, [B, D_s] and [B, D_t]."""
    if student.penultimate is None or teacher.penultimate is None:
        raise ValueError("the method's needs do not ask for penultimate features")
    return student.penultimate, teacher.penultimate


def shrunk(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Average maps over a coarser grid, [B, D, H, W] -> [B, D, *size].

    Windows are those of adaptive average pooling, whose own gradient has no deterministic form on CUDA.

    Args:
        maps: the maps.
        size: (height, width), neither larger than the maps'.
    """
    height, width = maps.shape[2:]
    if (height, width) == size:
        return maps
    if height % size[0] == 0 and width % size[1] == 0:
        return F.avg_pool2d(maps, (height // size[0], width // size[1]))
    return _windows(height, size[0], maps) @ maps @ _windows(width, size[1], maps).T


def _windows(length: int, count: int, like: Tensor) -> Tensor:
    """Averaging matrix [count, length]: window i covers floor(i length / count) to ceil((i + 1) length / count)."""
    window = torch.arange(count, device=like.device)[:, None]
    position = torch.arange(length, device=like.device)
    start, end = window * length // count, -(-(window + 1) * length // count)
    inside = ((position >= start) & (position < end)).to(like.dtype)
    return inside / inside.sum(1, keepdim=True)


def of_one_size(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """Two maps with the larger one averaged to the size of the smaller, [B, D, H, W] each."""
    size = (min(first.shape[2], second.shape[2]), min(first.shape[3], second.shape[3]))
    return shrunk(first, size), shrunk(second, size)


class BatchNorm(nn.BatchNorm2d):
    """Batch norm that takes a single value a channel too, which has no variance: by the running statistics.

    The last batch of an epoch may hold one image.
    """

    def forward(self, input: Tensor) -> Tensor:
        """[B, D, H, W] -> [B, D, H, W]."""
        if self.training and input.numel() == input.shape[1]:
            return F.batch_norm(input, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)
        return super().forward(input)
