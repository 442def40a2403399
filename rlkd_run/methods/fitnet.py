"""FitNets: hints from one intermediate map (arXiv 1412.6550)."""

from __future__ import annotations

from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

from rlkd_run.config.methods import FitNetOptions
from rlkd_run.errors import ConfigError
from rlkd_run.methods.base import Setting
from rlkd_run.methods.features import BatchNorm, FeatureMethod, Shape, map_shapes, shrunk
from rlkd_run.protocol import Batch, Needs, Outputs


class FitNet(FeatureMethod):
    """Mean squared difference between a regressed student map and the teacher's map of the same stage.

    The regressor, a convolution with batch norm and ReLU, is trained with the student in one phase, not before it.
    """

    needs: ClassVar[Needs] = Needs(maps=True)

    def __init__(self, options: FitNetOptions, setting: Setting) -> None:
        super().__init__(options, setting)
        student, teacher = map_shapes(setting)
        fewest = min(len(student), len(teacher))
        if options.hint_layer >= fewest:
            raise ConfigError(
                f"method.hint_layer={options.hint_layer} names a map that student or teacher does not have; "
                f"valid: 0 to {fewest - 1}."
            )
        self.hint_layer = options.hint_layer
        self.regressor, self.hint_size = _regressor(student[self.hint_layer], teacher[self.hint_layer])

    def feature_loss(self, student: Outputs, teacher: Outputs, batch: Batch) -> Tensor:  # noqa: ARG002
        """Mean over all elements of the hint."""
        hint = shrunk(teacher.maps[self.hint_layer], self.hint_size)
        return F.mse_loss(self.regressor(student.maps[self.hint_layer]), hint)


def _regressor(student: Shape, teacher: Shape) -> tuple[nn.Sequential, tuple[int, int]]:
    """Convolution, batch norm and ReLU from the student's to the teacher's shape, and the (height, width) it gives.

    Halves or doubles, else shrinks with a large kernel. Where the teacher's map is larger by another factor than two,
    which the literature leaves open, the hint is averaged to the student's size instead.
    """
    channels, height, width = student
    out, *size = teacher
    layer: nn.Module
    if (height, width) == (2 * size[0], 2 * size[1]):
        layer = nn.Conv2d(channels, out, 3, stride=2, padding=1)
    elif (2 * height, 2 * width) == (size[0], size[1]):
        layer = nn.ConvTranspose2d(channels, out, 4, stride=2, padding=1)
    else:
        size = [min(height, size[0]), min(width, size[1])]
        layer = nn.Conv2d(channels, out, (1 + height - size[0], 1 + width - size[1]))
    return nn.Sequential(layer, BatchNorm(out), nn.ReLU()), (size[0], size[1])
