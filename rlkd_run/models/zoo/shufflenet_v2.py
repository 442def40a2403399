"""ShuffleNetV2 1x (Ma et al., arXiv 1807.11164, table 5) for 32x32 images.

The literature's `ShuffleV2`: the stem is a 1x1 convolution to 24 channels without pooling. Starts from PyTorch's
default initialisation, as in RepDistiller.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from rlkd_run.models.zoo.base import ZooNetwork, conv1x1, conv3x3, global_average, shuffle_channels

STEM = 24
LAST = 1024


class Unit(nn.Module):
    """Half of the channels pass, half go through 1x1, depthwise 3x3 and 1x1 convolution; then both are shuffled."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        half = channels // 2
        self.conv1 = conv1x1(half, half)
        self.bn1 = nn.BatchNorm2d(half)
        self.relu1 = nn.ReLU()
        self.conv2 = conv3x3(half, half, groups=half)
        self.bn2 = nn.BatchNorm2d(half)
        self.conv3 = conv1x1(half, half)
        self.bn3 = nn.BatchNorm2d(half)
        self.relu3 = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """[B, channels, H, W] -> the same."""
        kept, branch = x.chunk(2, 1)
        branch = self.relu1(self.bn1(self.conv1(branch)))
        branch = self.bn2(self.conv2(branch))
        branch = self.relu3(self.bn3(self.conv3(branch)))
        return shuffle_channels(torch.cat([kept, branch], 1), 2)


class DownUnit(nn.Module):
    """Two branches of stride 2, each giving half of the new channels; then both are shuffled."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        half = outputs // 2
        self.conv1 = conv3x3(inputs, inputs, stride=2, groups=inputs)
        self.bn1 = nn.BatchNorm2d(inputs)
        self.conv2 = conv1x1(inputs, half)
        self.bn2 = nn.BatchNorm2d(half)
        self.relu2 = nn.ReLU()
        self.conv3 = conv1x1(inputs, half)
        self.bn3 = nn.BatchNorm2d(half)
        self.relu3 = nn.ReLU()
        self.conv4 = conv3x3(half, half, stride=2, groups=half)
        self.bn4 = nn.BatchNorm2d(half)
        self.conv5 = conv1x1(half, half)
        self.bn5 = nn.BatchNorm2d(half)
        self.relu5 = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """[B, inputs, H, W] -> [B, outputs, H / 2, W / 2]."""
        left = self.bn1(self.conv1(x))
        left = self.relu2(self.bn2(self.conv2(left)))
        right = self.relu3(self.bn3(self.conv3(x)))
        right = self.bn4(self.conv4(right))
        right = self.relu5(self.bn5(self.conv5(right)))
        return shuffle_channels(torch.cat([left, right], 1), 2)


def _stage(inputs: int, outputs: int, units: int) -> nn.Sequential:
    return nn.Sequential(DownUnit(inputs, outputs), *(Unit(outputs) for _ in range(units)))


class ShuffleNetV2(ZooNetwork):
    """ShuffleNetV2 of 1 + 3, 1 + 7 and 1 + 3 units and a last 1x1 convolution to 1024 channels.

    Args:
        num_classes: C.
    """

    map_modules: ClassVar[tuple[str, ...]] = ("relu", "layer1", "layer2", "layer3")
    classifier_module: ClassVar[str] = "linear"

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.conv1 = conv1x1(3, STEM)
        self.bn1 = nn.BatchNorm2d(STEM)
        self.relu = nn.ReLU()
        self.layer1 = _stage(STEM, 116, units=3)
        self.layer2 = _stage(116, 232, units=7)
        self.layer3 = _stage(232, 464, units=3)
        self.conv2 = conv1x1(464, LAST)
        self.bn2 = nn.BatchNorm2d(LAST)
        self.relu2 = nn.ReLU()
        self.linear = nn.Linear(LAST, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """[B, 3, H, W] -> logits [B, C]."""
        x = self.relu(self.bn1(self.conv1(images)))
        x = self.layer3(self.layer2(self.layer1(x)))
        x = self.relu2(self.bn2(self.conv2(x)))
        logits: Tensor = self.linear(global_average(x))
        return logits
