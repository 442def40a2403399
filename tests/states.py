"""States of a training, compared to the last bit and as a checkpoint gives them back."""

from __future__ import annotations

import io
from typing import Any

import torch


def same(left: Any, right: Any) -> bool:
    """Whether two states are equal to the last bit."""
    if isinstance(left, torch.Tensor):
        return left.dtype == right.dtype and torch.equal(left.nan_to_num(-1e9), right.nan_to_num(-1e9))
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    if isinstance(left, (list, tuple)):
        return len(left) == len(right) and all(same(a, b) for a, b in zip(left, right, strict=True))
    return bool(left == right)


def stored(state: Any) -> Any:
    """What a checkpoint file gives back."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=True)
