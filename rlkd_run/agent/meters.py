"""What actions and updates of an epoch looked like; gathered on the device and read when somebody asks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor


class EpochMeters:
    """Means over an epoch's updates; an update's reward counts once for each batch in it.

    Args:
        device: where the numbers gather.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.sums: dict[str, Tensor] = {}  # the same tensors in every epoch
        self.acted = torch.zeros(2, device=device)  # means at their bound, and all means
        self.begin_epoch()

    def begin_epoch(self) -> None:
        """Start from nothing."""
        for total in self.sums.values():
            total.zero_()
        self.acted.zero_()
        self.rewards = self.updates = 0

    def act(self, at_bound: Tensor) -> None:
        """Note of a batch's instances [b] bool whose mean lies at its bound."""
        self.acted[0].add_(at_bound.sum())
        self.acted[1].add_(len(at_bound))

    def saturated(self) -> Tensor:
        """Share of the epoch's actions so far whose mean lay at its bound, 0-dim; 0 before the first."""
        return self.acted[0] / self.acted[1].clamp(min=1)

    def update(self, rewards: Tensor, losses: dict[str, Tensor]) -> None:
        """Note the raw batch rewards [n] that an update learnt from, and what it reports."""
        self.updates += 1
        self.rewards += rewards.shape[0]
        for name, value in {"reward": rewards.sum(), **losses}.items():
            if name not in self.sums:
                self.sums[name] = torch.zeros_like(value)
            self.sums[name] += value

    def means(self) -> dict[str, Tensor]:
        """How many updates so far, and their means, 0-dim each; without an update there are no means."""
        result = {"updates": torch.full((), float(self.updates), device=self.device)}
        for name, value in self.sums.items() if self.updates else ():
            result[name] = value / (self.rewards if name == "reward" else self.updates)
        return result

    def state_dict(self) -> dict[str, Any]:
        """Everything gathered so far."""
        return {"sums": dict(self.sums), "acted": self.acted, "rewards": self.rewards, "updates": self.updates}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` gave."""
        sums, rewards, updates = state["sums"], state["rewards"], state["updates"]
        if not (isinstance(sums, dict) and isinstance(rewards, int) and isinstance(updates, int)):
            raise TypeError("state of the meters: sums must be a dict, rewards and updates numbers")
        self.sums = {name: value.to(self.device) for name, value in sums.items()}
        self.acted.copy_(state["acted"])
        self.rewards, self.updates = rewards, updates
