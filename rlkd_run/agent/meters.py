"""What the updates of an epoch looked like; gathered on the device and read when somebody asks."""

from __future__ import annotations

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
        self.begin_epoch()

    def begin_epoch(self) -> None:
        """Start from nothing."""
        for total in self.sums.values():
            total.zero_()
        self.rewards = self.updates = 0

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

    def state_dict(self) -> dict[str, dict[str, Tensor] | int]:
        """Everything gathered so far."""
        return {"sums": dict(self.sums), "rewards": self.rewards, "updates": self.updates}

    def load_state_dict(self, state: dict[str, dict[str, Tensor] | int]) -> None:
        """Restore what `state_dict` gave."""
        sums, rewards, updates = state["sums"], state["rewards"], state["updates"]
        if not (isinstance(sums, dict) and isinstance(rewards, int) and isinstance(updates, int)):
            raise TypeError("state of the meters: sums must be a dict, rewards and updates numbers")
        self.sums = {name: value.to(self.device) for name, value in sums.items()}
        self.rewards, self.updates = rewards, updates
