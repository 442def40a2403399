"""VGG with batch norm and a single linear layer (Simonyan and Zisserman, arXiv 1409.1556, table 1, columns A, B, D, E).

`vgg8` is RepDistiller's: one convolution a block. The paper's hidden fully connected layers are gone; images of 32x32
are halved after the first three blocks, larger ones (64x64) after the fourth too, then averaged over all positions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor, nn

from rlkd_run.models.zoo.base import ZooNetwork, global_average, he_initialise

WIDTHS = (64, 128, 256, 512, 512)
FOUR_POOLS_FROM = 64  # pixels of height from which the fourth block is followed by a pooling too


def _block(inputs: int, outputs: int, depth: int) -> nn.Sequential:
    """Convolutions with bias and batch norm; the last ReLU is left to the network."""
    layers: list[nn.Module] = []
    for _ in range(depth):
        layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU()]
        inputs = outputs
    return nn.Sequential(*layers[:-1])


class VGG(ZooNetwork):
    """VGG of five blocks; its maps are those after a block's last ReLU and before the pooling.

    Args:
        depths: convolutions of each block.
        num_classes: C.
    """

    map_modules: ClassVar[tuple[str, ...]] = ("relu0", "relu1", "relu2", "relu3", "relu4")
    preactivation_inputs = map_modules
    classifier_module: ClassVar[str] = "classifier"

    def __init__(self, depths: Sequence[int], num_classes: int) -> None:
        super().__init__()
        self.block0 = _block(3, WIDTHS[0], depths[0])
        self.block1 = _block(WIDTHS[0], WIDTHS[1], depths[1])
        self.block2 = _block(WIDTHS[1], WIDTHS[2], depths[2])
        self.block3 = _block(WIDTHS[2], WIDTHS[3], depths[3])
        self.block4 = _block(WIDTHS[3], WIDTHS[4], depths[4])
        self.relu0, self.relu1, self.relu2, self.relu3, self.relu4 = (nn.ReLU() for _ in range(5))
        self.pool = nn.MaxPool2d(2)
        self.classifier = nn.Linear(WIDTHS[4], num_classes)
        he_initialise(self)
        nn.init.normal_(self.classifier.weight, std=0.01)
        nn.init.zeros_(self.classifier.bias)

    def forward(self, images: Tensor) -> Tensor:
        """[B, 3, H, W] -> logits [B, C]."""
        x = self.pool(self.relu0(self.block0(images)))
        x = self.pool(self.relu1(self.block1(x)))
        x = self.pool(self.relu2(self.block2(x)))
        x = self.relu3(self.block3(x))
        if images.shape[2] >= FOUR_POOLS_FROM:
            x = self.pool(x)
        x = self.relu4(self.block4(x))
        logits: Tensor = self.classifier(global_average(x))
        return logits
