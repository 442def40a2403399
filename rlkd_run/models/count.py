"""Size of a network, as the literature counts it."""

from __future__ import annotations

from torch import nn


def parameters(model: nn.Module) -> int:
    """Number of parameters, running statistics not included."""
    return sum(parameter.numel() for parameter in model.parameters())
