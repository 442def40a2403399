"""Advantages and returns along time, for all instances of a batch side by side."""

from __future__ import annotations

import torch
from torch import Tensor


def advantages(rewards: Tensor, values: Tensor, bootstrap: Tensor, discount: float, gae_lambda: float) -> Tensor:
    """Generalised advantage estimation (arXiv 1506.02438, eq. 16) as one matrix product.

    A_t = sum over k >= t of (discount * lambda)^(k - t) * delta_k, delta_k = r_k + discount * V_{k+1} - V_k.
    Where an instance is missing from some step on (padding), rewards, values and bootstrap must be zero: its deltas
    are then zero too, and what came before ends there.

    Args:
        rewards: [T, B], time first.
        values: [T, B], of the states in which the actions were taken.
        bootstrap: [B], value of the state after the last step; zero where nothing follows.
        discount: per step, in [0, 1].
        gae_lambda: in [0, 1].

    Returns:
        [T, B]; plus `values` they are the critic's targets.
    """
    deltas = rewards + discount * torch.cat([values[1:], bootstrap[None]]) - values
    time = torch.arange(rewards.shape[0], device=rewards.device, dtype=rewards.dtype)
    distance = time[None, :] - time[:, None]
    decay = torch.pow(discount * gae_lambda, distance.clamp(min=0)).triu()
    return decay @ deltas


def returns_to_go(rewards: Tensor, discount: float) -> Tensor:
    """Discounted sum of the rewards from each step to the last, [T, B]."""
    nothing = torch.zeros_like(rewards)
    return advantages(rewards, nothing, nothing[0], discount, 1.0)
