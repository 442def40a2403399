"""Where a network computes, and in which memory layout."""

from __future__ import annotations

import torch
from torch import nn


def place(model: nn.Module, device: torch.device, *, channels_last: bool) -> nn.Module:
    """Move a network to its device, in NHWC layout if asked for; returns the network."""
    layout = torch.channels_last if channels_last else torch.contiguous_format
    return model.to(device).to(memory_format=layout)
