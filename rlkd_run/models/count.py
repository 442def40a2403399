"""Size and cost of a network, as the literature counts them."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from rlkd_run.models.dry_run import watched_run
from rlkd_run.models.unwrap import unwrapped


def parameters(model: nn.Module) -> int:
    """Number of parameters, running statistics not included."""
    return sum(parameter.numel() for parameter in model.parameters())


def multiply_adds(model: nn.Module, image_shape: tuple[int, int, int]) -> int:
    """Multiply-adds of the convolutions and linear layers for one image.

    Norms, activations, pooling and the products of attention are not counted, as in the tables of the literature.

    Args:
        model: any network.
        image_shape: (channels, height, width).
    """
    total = 0

    def count(module: nn.Module, _: Any, output: Tensor) -> None:
        nonlocal total
        if isinstance(module, nn.Linear):
            total += output.numel() * module.in_features
        elif isinstance(module, nn.Conv2d):
            total += output.numel() * module.weight[0].numel()

    model = unwrapped(model)
    layers = [module for module in model.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    watched_run(model, image_shape, layers, count)
    return total
