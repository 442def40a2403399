"""ResNet-18 and ResNet-50 with a 3x3 stem of stride 1 for 32x32 images.

Blocks, widths and depths of He et al. (arXiv 1512.03385, table 1); the ImageNet stem's 7x7 convolution and pooling give
way to one 3x3 convolution, so the four stages work at 32, 16, 8 and 4 pixels. The literature's `ResNet50` teacher of
CIFAR-100 and the ResNet-18 of mdistiller and of the nasty-teacher papers. A bottleneck strides in its 3x3 convolution.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor, nn

from rlkd_run.models.zoo.base import ZooNetwork, conv1x1, conv3x3, global_average, he_initialise

WIDTHS = (64, 128, 256, 512)
STRIDES = (1, 2, 2, 2)


def _shortcut(inputs: int, outputs: int, stride: int) -> nn.Module:
    if stride == 1 and inputs == outputs:
        return nn.Identity()
    return nn.Sequential(conv1x1(inputs, outputs, stride), nn.BatchNorm2d(outputs))


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut.

    The 6n+2 family's block under the parameter names of these networks' published files (`shortcut`, not `downsample`).
    """

    expansion: ClassVar[int] = 1

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = conv3x3(inputs, width, stride)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu1 = nn.ReLU()
        self.conv2 = conv3x3(width, width)
        self.bn2 = nn.BatchNorm2d(width)
        self.shortcut = _shortcut(inputs, width, stride)
        self.relu2 = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """[B, inputs, H, W] -> [B, width, H / stride, W / stride]."""
        branch = self.relu1(self.bn1(self.conv1(x)))
        branch = self.bn2(self.conv2(branch))
        out: Tensor = self.relu2(branch + self.shortcut(x))
        return out


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolution to four times the width, and a shortcut."""

    expansion: ClassVar[int] = 4

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        outputs = width * self.expansion
        self.conv1 = conv1x1(inputs, width)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu1 = nn.ReLU()
        self.conv2 = conv3x3(width, width, stride)
        self.bn2 = nn.BatchNorm2d(width)
        self.relu2 = nn.ReLU()
        self.conv3 = conv1x1(width, outputs)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.shortcut = _shortcut(inputs, outputs, stride)
        self.relu3 = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """[B, inputs, H, W] -> [B, 4 · width, H / stride, W / stride]."""
        branch = self.relu1(self.bn1(self.conv1(x)))
        branch = self.relu2(self.bn2(self.conv2(branch)))
        branch = self.bn3(self.conv3(branch))
        out: Tensor = self.relu3(branch + self.shortcut(x))
        return out


class CifarStemResNet(ZooNetwork):
    """Four-stage ResNet without the ImageNet stem.

    Args:
        block: kind of block.
        blocks: number of blocks of each stage.
        num_classes: C.
    """

    map_modules: ClassVar[tuple[str, ...]] = ("relu", "layer1", "layer2", "layer3", "layer4")
    classifier_module: ClassVar[str] = "linear"

    def __init__(self, block: type[BasicBlock | Bottleneck], blocks: Sequence[int], num_classes: int) -> None:
        super().__init__()
        self.conv1 = conv3x3(3, WIDTHS[0])
        self.bn1 = nn.BatchNorm2d(WIDTHS[0])
        self.relu = nn.ReLU()
        inputs = WIDTHS[0]
        stages = []
        for width, stride, depth in zip(WIDTHS, STRIDES, blocks, strict=True):
            outputs = width * block.expansion
            stages.append(
                nn.Sequential(block(inputs, width, stride), *(block(outputs, width, 1) for _ in range(depth - 1)))
            )
            inputs = outputs
        self.layer1, self.layer2, self.layer3, self.layer4 = stages
        relu = "relu2" if block is BasicBlock else "relu3"
        last = enumerate(blocks, start=1)
        self.preactivation_inputs = ("relu", *(f"layer{stage}.{depth - 1}.{relu}" for stage, depth in last))
        self.linear = nn.Linear(inputs, num_classes)
        he_initialise(self)

    def forward(self, images: Tensor) -> Tensor:
        """[B, 3, H, W] -> logits [B, C]."""
        x = self.relu(self.bn1(self.conv1(images)))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        logits: Tensor = self.linear(global_average(x))
        return logits
