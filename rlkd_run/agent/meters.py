"""What an epoch of the agent looked like; gathered on the device and read when somebody asks."""

from __future__ import annotations

import torch
from torch import Tensor


class EpochMeters:
    """Temperatures of an epoch, and means over its updates.

    Args:
        steps: batches an epoch.
        batch_size: B.
        device: where the numbers gather.
    """

    def __init__(self, steps: int, batch_size: int, device: torch.device) -> None:
        self.device = device
        self.log = torch.full((steps, batch_size), torch.nan, device=device)  # one copy a step, no arithmetic
        self.begin_epoch()

    def begin_epoch(self) -> None:
        """Start from nothing."""
        self.log.fill_(torch.nan)
        self.sums: dict[str, Tensor] = {}
        self.rewards = self.updates = 0

    def temperatures(self, step: int, temperature: Tensor) -> None:
        """Note the temperatures [b] of a step."""
        self.log[step, : temperature.shape[0]] = temperature

    def update(self, rewards: Tensor, losses: dict[str, Tensor]) -> None:
        """Note the raw batch rewards [n] that an update learnt from, and what it reports."""
        self.updates += 1
        self.rewards += rewards.shape[0]
        for name, value in {"reward": rewards.sum(), **losses}.items():
            self.sums[name] = self.sums[name] + value if name in self.sums else value

    def means(self) -> dict[str, Tensor]:
        """Everything so far, 0-dim each; what has not happened yet is left out (temperatures: NaN)."""
        known = ~self.log.isnan()
        mean = self.log.nanmean()
        result = {
            "temperature_mean": mean,
            "temperature_std": (self.log - mean).square().nanmean().sqrt(),
            "temperature_min": torch.where(known, self.log, torch.inf).amin(),
            "temperature_max": torch.where(known, self.log, -torch.inf).amax(),
            "updates": torch.full((), float(self.updates), device=self.device),
        }
        for name, value in self.sums.items():
            result[name] = value / (self.rewards if name == "reward" else self.updates)
        return result

    def state_dict(self) -> dict[str, Tensor | dict[str, Tensor] | int]:
        """Everything gathered so far."""
        return {"log": self.log, "sums": dict(self.sums), "rewards": self.rewards, "updates": self.updates}

    def load_state_dict(self, state: dict[str, Tensor | dict[str, Tensor] | int]) -> None:
        """Restore what `state_dict` gave."""
        log, sums, rewards, updates = state["log"], state["sums"], state["rewards"], state["updates"]
        if not (isinstance(log, Tensor) and isinstance(sums, dict)):
            raise TypeError("state of the meters: log must be a tensor and sums a dict")
        self.log.copy_(log)
        self.sums = {name: value.to(self.device) for name, value in sums.items()}
        self.rewards, self.updates = int(rewards), int(updates)  # type: ignore[arg-type]
