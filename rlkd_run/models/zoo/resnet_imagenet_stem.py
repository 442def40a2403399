"""ResNet-18 and ResNet-34 with the ImageNet stem (He et al., arXiv 1512.03385, table 1).

CTKD's experiments carry these to 32x32 images as they are: the 7x7 convolution and the pooling, both of stride 2, leave
8x8 pixels to the first stage. Parameter names are torchvision's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor, nn

from rlkd_run.models.zoo.base import ZooNetwork, global_average, he_initialise
from rlkd_run.models.zoo.resnet import basic_stage


class ImageNetStemResNet(ZooNetwork):
    """Four-stage ResNet of basic blocks; the stem's map is taken before its pooling, as in timm.

    Args:
        blocks: number of blocks of each stage.
        num_classes: C.
    """

    map_modules: ClassVar[tuple[str, ...]] = ("relu", "layer1", "layer2", "layer3", "layer4")
    classifier_module: ClassVar[str] = "fc"

    def __init__(self, blocks: Sequence[int], num_classes: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU()
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        self.layer1 = basic_stage(64, 64, blocks[0], stride=1)
        self.layer2 = basic_stage(64, 128, blocks[1], stride=2)
        self.layer3 = basic_stage(128, 256, blocks[2], stride=2)
        self.layer4 = basic_stage(256, 512, blocks[3], stride=2)
        last = enumerate(blocks, start=1)
        self.preactivation_inputs = ("relu", *(f"layer{stage}.{depth - 1}.relu2" for stage, depth in last))
        self.fc = nn.Linear(512, num_classes)
        he_initialise(self)

    def forward(self, images: Tensor) -> Tensor:
        """[B, 3, H, W] -> logits [B, C]."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(images))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        logits: Tensor = self.fc(global_average(x))
        return logits
