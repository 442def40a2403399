"""The zoo by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from rlkd_run.models.zoo.base import ZooNetwork
from rlkd_run.models.zoo.mobilenet_v2 import MobileNetV2
from rlkd_run.models.zoo.resnet import NARROW, WIDE, ResNet
from rlkd_run.models.zoo.resnet_cifar_stem import BasicBlock, Bottleneck, CifarStemResNet
from rlkd_run.models.zoo.resnet_imagenet_stem import ImageNetStemResNet
from rlkd_run.models.zoo.shufflenet_v1 import ShuffleNetV1
from rlkd_run.models.zoo.shufflenet_v2 import ShuffleNetV2
from rlkd_run.models.zoo.vgg import VGG
from rlkd_run.models.zoo.wrn import WideResNet

Builder = Callable[[int], ZooNetwork]

# Each builder takes the number of classes C; the names are `rlkd_run.models.names.ZOO_NAMES`.
ZOO: Mapping[str, Builder] = MappingProxyType(
    {
        "resnet8": lambda c: ResNet(8, NARROW, c),
        "resnet14": lambda c: ResNet(14, NARROW, c),
        "resnet20": lambda c: ResNet(20, NARROW, c),
        "resnet32": lambda c: ResNet(32, NARROW, c),
        "resnet44": lambda c: ResNet(44, NARROW, c),
        "resnet56": lambda c: ResNet(56, NARROW, c),
        "resnet110": lambda c: ResNet(110, NARROW, c),
        "resnet8x4": lambda c: ResNet(8, WIDE, c),
        "resnet32x4": lambda c: ResNet(32, WIDE, c),
        "wrn_16_1": lambda c: WideResNet(16, 1, c),
        "wrn_16_2": lambda c: WideResNet(16, 2, c),
        "wrn_40_1": lambda c: WideResNet(40, 1, c),
        "wrn_40_2": lambda c: WideResNet(40, 2, c),
        "vgg8": lambda c: VGG((1, 1, 1, 1, 1), c),
        "vgg11": lambda c: VGG((1, 1, 2, 2, 2), c),
        "vgg13": lambda c: VGG((2, 2, 2, 2, 2), c),
        "vgg16": lambda c: VGG((2, 2, 3, 3, 3), c),
        "vgg19": lambda c: VGG((2, 2, 4, 4, 4), c),
        "resnet18": lambda c: CifarStemResNet(BasicBlock, (2, 2, 2, 2), c),
        "resnet50": lambda c: CifarStemResNet(Bottleneck, (3, 4, 6, 3), c),
        "resnet18_imagenet": lambda c: ImageNetStemResNet((2, 2, 2, 2), c),
        "resnet34_imagenet": lambda c: ImageNetStemResNet((3, 4, 6, 3), c),
        "mobilenet_v2": lambda c: MobileNetV2(0.5, c),
        "shufflenet_v1": ShuffleNetV1,
        "shufflenet_v2": ShuffleNetV2,
    }
)
