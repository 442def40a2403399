"""What all networks of the zoo share."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn


class ZooNetwork(nn.Module):
    """A classifier that says where its features are.

    A feature is the output of a module, named here, so one mechanism of hooks serves the zoo and timm alike
    (`rlkd_run.models.features`). Two rules keep that possible for other points of a network too: activations are
    modules of their own and never work in place, so neither an exposed map nor the map before its activation (the
    input of a block's last ReLU, say) is ever overwritten.

    Attributes:
        map_modules: names of the modules that give the stem's map and each stage's, in this order.
        preactivation_inputs: names of the modules whose input is the same map before its activation; empty for
            networks whose maps have none, or are put together from activated parts.
        classifier_module: name of the final linear layer; its input is the penultimate feature.
    """

    map_modules: ClassVar[tuple[str, ...]]
    preactivation_inputs: tuple[str, ...] = ()
    classifier_module: ClassVar[str]


def conv1x1(inputs: int, outputs: int, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    """1x1 convolution without bias, as before a batch norm."""
    return nn.Conv2d(inputs, outputs, 1, stride, groups=groups, bias=False)


def conv3x3(inputs: int, outputs: int, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    """3x3 convolution that keeps the size at stride 1, without bias."""
    return nn.Conv2d(inputs, outputs, 3, stride, padding=1, groups=groups, bias=False)


def he_initialise(model: nn.Module) -> None:
    """Draw all convolutions from N(0, 2 / (k² · outputs)), biases 0 (He et al., arXiv 1502.01852, fan-out form).

    Batch norms already start at weight 1 and bias 0.
    """
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def global_average(maps: Tensor) -> Tensor:
    """Mean over the positions of a map of any size, [B, D, H, W] -> [B, D].

    A plain mean, because the adaptive pooling layers have no deterministic gradient on CUDA.
    """
    return maps.mean((2, 3))


def shuffle_channels(maps: Tensor, groups: int) -> Tensor:
    """Interleave `groups` equal groups of channels (ShuffleNet, arXiv 1707.01083, figure 1), [B, D, H, W].

    Permutes the innermost dimension of the channels_last layout, so that images in that layout stay in it: the
    reshape of an NCHW view would copy every map back to NCHW.
    """
    last = maps.permute(0, 2, 3, 1)
    grouped = last.reshape(*last.shape[:3], groups, -1)
    return grouped.transpose(3, 4).flatten(3).permute(0, 3, 1, 2)
