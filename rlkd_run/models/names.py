"""Names of the zoo's networks, free of torch so that a misspelt one is answered at once."""

from __future__ import annotations

ZOO_NAMES: tuple[str, ...] = (
    "resnet8",
    "resnet14",
    "resnet20",
    "resnet32",
    "resnet44",
    "resnet56",
    "resnet110",
    "resnet8x4",
    "resnet32x4",
    "wrn_16_1",
    "wrn_16_2",
    "wrn_40_1",
    "wrn_40_2",
    "vgg8",
    "vgg11",
    "vgg13",
    "vgg16",
    "vgg19",
    "resnet18",
    "resnet50",
    "resnet18_imagenet",
    "resnet34_imagenet",
    "mobilenet_v2",
    "shufflenet_v1",
    "shufflenet_v2",
)
