"""The transitions of up to H consecutive training steps, stored where they will be learnt from."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Transitions(NamedTuple):
    """n consecutive steps whose reward is known.

    Attributes:
        states: [n, B, F]; zero at padding.
        actions: before the squash, [n, B]; zero at padding.
        mask: 1 where an instance is, 0 at the padding of a short batch, [n, B] float32.
        rewards: raw reward of each batch, [n].
    """

    states: Tensor
    actions: Tensor
    mask: Tensor
    rewards: Tensor


class Rollout:
    """Preallocated [H, B] tensors, filled step by step; how full they are is a Python number, so asking costs no wait.

    A step is stored when the agent acts; its reward becomes known later, at most one step is without.

    Args:
        steps: H.
        batch_size: B, of a full batch.
        features: F.
        device: where the tensors live.
    """

    def __init__(self, steps: int, batch_size: int, features: int, device: torch.device) -> None:
        self.steps = steps
        self.states = torch.zeros(steps, batch_size, features, device=device)
        self.actions = torch.zeros(steps, batch_size, device=device)
        self.mask = torch.zeros(steps, batch_size, device=device)
        self.rewards = torch.zeros(steps, device=device)
        self.stored = 0
        self.rewarded = 0

    @property
    def filling(self) -> tuple[int, int]:
        """How many steps are stored, and how many of them have their reward."""
        return self.stored, self.rewarded

    @filling.setter
    def filling(self, numbers: tuple[int, int]) -> None:
        self.stored, self.rewarded = numbers

    @property
    def full(self) -> bool:
        """Whether H steps have their reward."""
        return self.rewarded == self.steps

    @property
    def waiting(self) -> bool:
        """Whether the newest step has no reward yet."""
        return self.stored > self.rewarded

    def store(self, states: Tensor, actions: Tensor) -> None:
        """Add a step: states [b, F] and actions [b] with b <= B."""
        size = actions.shape[0]
        slot = self.stored
        if size < self.mask.shape[1]:  # the rest of the slot may hold an old rollout's values
            for tensor in (self.states, self.actions, self.mask):
                tensor[slot, size:].zero_()
        self.states[slot, :size] = states
        self.actions[slot, :size] = actions
        self.mask[slot, :size].fill_(1.0)  # an assigned number comes from the host, which no captured step may ask
        self.stored += 1

    def reward(self, value: Tensor) -> None:
        """Set the reward (0-dim) of the newest step."""
        self.rewards[self.rewarded] = value
        self.rewarded = self.stored

    def discard(self) -> None:
        """Forget the newest step if it has no reward."""
        self.stored = self.rewarded

    def clear(self) -> None:
        """Forget everything."""
        self.stored = self.rewarded = 0

    def transitions(self) -> Transitions:
        """The steps whose reward is known, as views."""
        n = self.rewarded
        return Transitions(self.states[:n], self.actions[:n], self.mask[:n], self.rewards[:n])

    def state_dict(self) -> dict[str, Tensor | int]:
        """All tensors and both counters."""
        return {
            "states": self.states,
            "actions": self.actions,
            "mask": self.mask,
            "rewards": self.rewards,
            "stored": self.stored,
            "rewarded": self.rewarded,
        }

    def load_state_dict(self, state: dict[str, Tensor | int]) -> None:
        """Restore what `state_dict` gave."""
        for name in ("states", "actions", "mask", "rewards"):
            getattr(self, name).copy_(state[name])
        self.stored, self.rewarded = int(state["stored"]), int(state["rewarded"])
