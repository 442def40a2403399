"""ShuffleNet with three groups (Zhang et al., arXiv 1707.01083, table 1) for 32x32 images.

The literature's `ShuffleV1`: the stem is a 1x1 convolution to 24 channels without pooling. Starts from PyTorch's
default initialisation, as in RepDistiller.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from rlkd_run.models.zoo.base import ZooNetwork, conv1x1, conv3x3, global_average, shuffle_channels

STEM = 24
GROUPS = 3


class ShuffleUnit(nn.Module):
    """Grouped 1x1, shuffle, depthwise 3x3, grouped 1x1 convolution; the input is added or, at stride 2, appended.

    `relu3`'s input is the map before activation.
    """

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        # At stride 2 the pooled input fills the last channels of the output, the branch only the others.
        branch = outputs - inputs if stride == 2 else outputs
        hidden = branch // 4
        # Too few channels to group where the stem feeds the unit.
        self.groups = 1 if inputs == STEM else GROUPS
        self.conv1 = conv1x1(inputs, hidden, groups=self.groups)
        self.bn1 = nn.BatchNorm2d(hidden)
        self.relu1 = nn.ReLU()
        self.conv2 = conv3x3(hidden, hidden, stride, groups=hidden)
        self.bn2 = nn.BatchNorm2d(hidden)
        self.relu2 = nn.ReLU()
        self.conv3 = conv1x1(hidden, branch, groups=GROUPS)
        self.bn3 = nn.BatchNorm2d(branch)
        self.pool = nn.AvgPool2d(3, stride=2, padding=1) if stride == 2 else None
        self.relu3 = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """[B, inputs, H, W] -> [B, outputs, H / stride, W / stride]."""
        branch = self.relu1(self.bn1(self.conv1(x)))
        branch = shuffle_channels(branch, self.groups) if self.groups > 1 else branch
        branch = self.relu2(self.bn2(self.conv2(branch)))
        branch = self.bn3(self.conv3(branch))
        joined = branch + x if self.pool is None else torch.cat([branch, self.pool(x)], 1)
        out: Tensor = self.relu3(joined)
        return out


def _stage(inputs: int, outputs: int, units: int) -> nn.Sequential:
    return nn.Sequential(
        ShuffleUnit(inputs, outputs, stride=2), *(ShuffleUnit(outputs, outputs, stride=1) for _ in range(units - 1))
    )


class ShuffleNetV1(ZooNetwork):
    """ShuffleNet of 4, 8 and 4 units.

    Args:
        num_classes: C.
    """

    map_modules: ClassVar[tuple[str, ...]] = ("relu", "layer1", "layer2", "layer3")
    preactivation_inputs = ("relu", "layer1.3.relu3", "layer2.7.relu3", "layer3.3.relu3")
    classifier_module: ClassVar[str] = "linear"

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.conv1 = conv1x1(3, STEM)
        self.bn1 = nn.BatchNorm2d(STEM)
        self.relu = nn.ReLU()
        self.layer1 = _stage(STEM, 240, units=4)
        self.layer2 = _stage(240, 480, units=8)
        self.layer3 = _stage(480, 960, units=4)
        self.linear = nn.Linear(960, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """[B, 3, H, W] -> logits [B, C]."""
        x = self.relu(self.bn1(self.conv1(images)))
        x = self.layer3(self.layer2(self.layer1(x)))
        logits: Tensor = self.linear(global_average(x))
        return logits
