"""MobileNetV2 of half width (Sandler et al., arXiv 1801.04381, table 2).

The literature's `MobileNetV2` for CIFAR-100, `mobile_half` in RepDistiller.
Differs from the paper where RepDistiller does: ReLU for ReLU6, stride 1 in the second group, channels truncated and not
rounded to multiples of 8, an expansion convolution in the first group too (factor 1), and no dropout.
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from rlkd_run.models.zoo.base import ZooNetwork, conv1x1, conv3x3, global_average, he_initialise

# Expansion factor, output channels at full width, number of blocks, stride of the first.
GROUPS = (
    (1, 16, 1, 1),
    (6, 24, 2, 1),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
LAST = 1280


class InvertedResidual(nn.Module):
    """1x1 expansion, depthwise 3x3, linear 1x1 projection; a shortcut where the shape stays."""

    def __init__(self, inputs: int, outputs: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = inputs * expansion
        self.residual = stride == 1 and inputs == outputs
        self.conv = nn.Sequential(
            conv1x1(inputs, hidden),
            nn.BatchNorm2d(hidden),
            nn.ReLU(),
            conv3x3(hidden, hidden, stride, groups=hidden),
            nn.BatchNorm2d(hidden),
            nn.ReLU(),
            conv1x1(hidden, outputs),
            nn.BatchNorm2d(outputs),
        )

    def forward(self, x: Tensor) -> Tensor:
        """[B, inputs, H, W] -> [B, outputs, H / stride, W / stride]."""
        out: Tensor = self.conv(x)
        return x + out if self.residual else out


class MobileNetV2(ZooNetwork):
    """MobileNetV2; its maps are the linear outputs of groups 1, 2, 4 and 6, none of which has an activation.

    Args:
        width: factor on all channels but the last 1280.
        num_classes: C.
    """

    map_modules: ClassVar[tuple[str, ...]] = ("conv1", "blocks.1", "blocks.2", "blocks.4", "blocks.6")
    classifier_module: ClassVar[str] = "classifier.0"

    def __init__(self, width: float, num_classes: int) -> None:
        super().__init__()
        inputs = int(32 * width)
        self.conv1 = nn.Sequential(conv3x3(3, inputs, stride=2), nn.BatchNorm2d(inputs), nn.ReLU())
        groups = []
        for expansion, channels, depth, stride in GROUPS:
            outputs = int(channels * width)
            blocks = [InvertedResidual(inputs, outputs, stride, expansion)]
            blocks += [InvertedResidual(outputs, outputs, 1, expansion) for _ in range(depth - 1)]
            groups.append(nn.Sequential(*blocks))
            inputs = outputs
        self.blocks = nn.Sequential(*groups)
        self.conv2 = nn.Sequential(conv1x1(inputs, LAST), nn.BatchNorm2d(LAST), nn.ReLU())
        linear = nn.Linear(LAST, num_classes)
        self.classifier = nn.Sequential(linear)
        he_initialise(self)
        nn.init.normal_(linear.weight, std=0.01)
        nn.init.zeros_(linear.bias)

    def forward(self, images: Tensor) -> Tensor:
        """[B, 3, H, W] -> logits [B, C]."""
        x = self.conv2(self.blocks(self.conv1(images)))
        logits: Tensor = self.classifier(global_average(x))
        return logits
