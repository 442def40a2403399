"""The two networks of the agent, and the way from an action to a temperature.

Action z ~ N(mean(s), std^2), one a instance; temperature T = T_min + (T_max - T_min) * sigmoid(z).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


def two_layer_perceptron(features: int, hidden: int) -> nn.Sequential:
    """F - hidden - hidden - 1 with ReLU, in PyTorch's default initialisation (as in the authors' code)."""
    return nn.Sequential(
        nn.Linear(features, hidden),
        nn.ReLU(),
        nn.Linear(hidden, hidden),
        nn.ReLU(),
        nn.Linear(hidden, 1),
    )


AT_BOUND = 0.9
"""From this part of the bound on, a mean counts as being at it: the slope of tanh is less than a fifth there."""


class Actor(nn.Module):
    """Policy N(bound * tanh(f(s)), exp(log_std)^2) over the action before the squash.

    Args:
        features: F, length of a state.
        hidden: units of each hidden layer.
        mean_bound: the mean stays within ±mean_bound; 1 in the authors' code.
        log_std_start: initial log standard deviation; it is learnt and the same in every state.
    """

    def __init__(self, features: int, hidden: int, mean_bound: float, log_std_start: float) -> None:
        super().__init__()
        self.body = two_layer_perceptron(features, hidden)
        self.mean_bound = mean_bound
        self.log_std = nn.Parameter(torch.tensor(float(log_std_start)))

    def forward(self, states: Tensor) -> Tensor:
        """Means of the action, [...], of states [..., F]."""
        mean: Tensor = self.mean_bound * self.body(states).squeeze(-1).tanh()
        return mean

    def at_bound(self, means: Tensor) -> Tensor:
        """Which means [...] lie at an end of what they can reach, bool."""
        return means.abs() > AT_BOUND * self.mean_bound

    def log_prob(self, actions: Tensor, states: Tensor) -> Tensor:
        """Log-density of actions [...] in states [..., F]."""
        return gaussian_log_prob(actions, self(states), self.log_std)


class Critic(nn.Module):
    """Value of a state: the discounted reward that follows it."""

    def __init__(self, features: int, hidden: int) -> None:
        super().__init__()
        self.body = two_layer_perceptron(features, hidden)

    def forward(self, states: Tensor) -> Tensor:
        """Values, [...], of states [..., F]."""
        value: Tensor = self.body(states).squeeze(-1)
        return value


def squash(actions: Tensor, t_min: float, t_max: float) -> Tensor:
    """Temperatures in [t_min, t_max] of unbounded actions; rounding may reach the ends, never leave them."""
    return (t_min + (t_max - t_min) * actions.sigmoid()).clamp(t_min, t_max)


def gaussian_log_prob(x: Tensor, mean: Tensor, log_std: Tensor) -> Tensor:
    """log N(x; mean, exp(log_std)^2), elementwise."""
    return -0.5 * ((x - mean) * (-log_std).exp()).square() - log_std - 0.5 * math.log(2 * math.pi)
