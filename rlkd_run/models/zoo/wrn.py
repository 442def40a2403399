"""Wide residual networks (Zagoruyko and Komodakis, arXiv 1605.07146): WRN-d-k, depth 6n+4, width k, no dropout."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from rlkd_run.models.zoo.base import ZooNetwork, conv1x1, conv3x3, global_average, he_initialise


class PreactivationBlock(nn.Module):
    """Batch norm and ReLU before each of two 3x3 convolutions (He et al., arXiv 1603.05027).

    Where the channels change, the projection takes the activated input; else the raw input is added.
    """

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(inputs)
        self.relu1 = nn.ReLU()
        self.conv1 = conv3x3(inputs, outputs, stride)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.relu2 = nn.ReLU()
        self.conv2 = conv3x3(outputs, outputs)
        # Registered only where it exists: the name is that of the published files.
        self.convShortcut = conv1x1(inputs, outputs, stride) if inputs != outputs else None

    def forward(self, x: Tensor) -> Tensor:
        """[B, inputs, H, W] -> [B, outputs, H / stride, W / stride], not activated."""
        active = self.relu1(self.bn1(x))
        branch: Tensor = self.conv2(self.relu2(self.bn2(self.conv1(active))))
        return branch + (x if self.convShortcut is None else self.convShortcut(active))


class Stage(nn.Module):
    """Blocks of one width; a module of its own only because the published names have it (`block1.layer.0`)."""

    def __init__(self, inputs: int, outputs: int, blocks: int, stride: int) -> None:
        super().__init__()
        first = PreactivationBlock(inputs, outputs, stride)
        self.layer = nn.Sequential(first, *(PreactivationBlock(outputs, outputs, 1) for _ in range(blocks - 1)))

    def forward(self, x: Tensor) -> Tensor:
        """[B, inputs, H, W] -> [B, outputs, H / stride, W / stride]."""
        out: Tensor = self.layer(x)
        return out


class WideResNet(ZooNetwork):
    """WRN-depth-width; its maps are the raw sums of the blocks, before the batch norm and ReLU that follow.

    Before activation means after that batch norm and before its ReLU, as ReviewKD's authors take a teacher's maps.

    Args:
        depth: 6n+4.
        width: factor k on the channels of the three stages (16, 32, 64).
        num_classes: C.
    """

    map_modules: ClassVar[tuple[str, ...]] = ("conv1", "block1", "block2", "block3")
    preactivation_inputs = ("block1.layer.0.bn1", "block2.layer.0.relu1", "block3.layer.0.relu1", "relu")
    classifier_module: ClassVar[str] = "fc"

    def __init__(self, depth: int, width: int, num_classes: int) -> None:
        super().__init__()
        blocks, rest = divmod(depth - 4, 6)
        if rest:
            raise ValueError(f"depth {depth} is not of the form 6n+4")
        self.conv1 = conv3x3(3, 16)
        self.block1 = Stage(16, 16 * width, blocks, stride=1)
        self.block2 = Stage(16 * width, 32 * width, blocks, stride=2)
        self.block3 = Stage(32 * width, 64 * width, blocks, stride=2)
        self.bn1 = nn.BatchNorm2d(64 * width)
        self.relu = nn.ReLU()
        self.fc = nn.Linear(64 * width, num_classes)
        he_initialise(self)
        nn.init.zeros_(self.fc.bias)

    def forward(self, images: Tensor) -> Tensor:
        """[B, 3, H, W] -> logits [B, C]."""
        x = self.block3(self.block2(self.block1(self.conv1(images))))
        x = self.relu(self.bn1(x))
        logits: Tensor = self.fc(global_average(x))
        return logits
