"""ResNets of depth 6n+2 for 32x32 images (He et al., arXiv 1512.03385, section 4.2) and their x4-wide kin.

Three stages of n basic blocks at 32, 16 and 8 pixels. `resnet8x4` and `resnet32x4` are RepDistiller's: stem 32,
stages 64, 128, 256. Unlike the paper's parameter-free shortcut, a 1x1 convolution with batch norm projects where the
shape changes.
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from rlkd_run.models.zoo.base import ZooNetwork, conv1x1, conv3x3, global_average, he_initialise

NARROW = (16, 16, 32, 64)
WIDE = (32, 64, 128, 256)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut; `relu2`'s input is the map before activation."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = conv3x3(inputs, outputs, stride)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.relu1 = nn.ReLU()
        self.conv2 = conv3x3(outputs, outputs)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.downsample: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(conv1x1(inputs, outputs, stride), nn.BatchNorm2d(outputs))
        self.relu2 = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """[B, inputs, H, W] -> [B, outputs, H / stride, W / stride]."""
        branch = self.relu1(self.bn1(self.conv1(x)))
        branch = self.bn2(self.conv2(branch))
        out: Tensor = self.relu2(branch + self.downsample(x))
        return out


def basic_stage(inputs: int, outputs: int, blocks: int, stride: int) -> nn.Sequential:
    """A stage of basic blocks; the first one changes the shape."""
    first = BasicBlock(inputs, outputs, stride)
    return nn.Sequential(first, *(BasicBlock(outputs, outputs, 1) for _ in range(blocks - 1)))


class ResNet(ZooNetwork):
    """ResNet of depth 6n+2.

    Args:
        depth: number of layers with weights, 6n+2.
        widths: channels of the stem and of the three stages.
        num_classes: C.
    """

    map_modules: ClassVar[tuple[str, ...]] = ("relu", "layer1", "layer2", "layer3")
    classifier_module: ClassVar[str] = "fc"

    def __init__(self, depth: int, widths: tuple[int, int, int, int], num_classes: int) -> None:
        super().__init__()
        blocks, rest = divmod(depth - 2, 6)
        if rest:
            raise ValueError(f"depth {depth} is not of the form 6n+2")
        self.conv1 = conv3x3(3, widths[0])
        self.bn1 = nn.BatchNorm2d(widths[0])
        self.relu = nn.ReLU()
        self.layer1 = basic_stage(widths[0], widths[1], blocks, stride=1)
        self.layer2 = basic_stage(widths[1], widths[2], blocks, stride=2)
        self.layer3 = basic_stage(widths[2], widths[3], blocks, stride=2)
        self.preactivation_inputs = ("relu", *(f"layer{stage}.{blocks - 1}.relu2" for stage in (1, 2, 3)))
        self.fc = nn.Linear(widths[3], num_classes)
        he_initialise(self)

    def forward(self, images: Tensor) -> Tensor:
        """[B, 3, H, W] -> logits [B, C]."""
        x = self.relu(self.bn1(self.conv1(images)))
        x = self.layer3(self.layer2(self.layer1(x)))
        logits: Tensor = self.fc(global_average(x))
        return logits
