"""How the learning rate moves over the epochs, and the phases in which it starts anew."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields

from rlkd_run.config.run import RecipeOptions


@dataclass(frozen=True)
class Phase:
    """A stretch of epochs with a fresh optimiser and a schedule of its own.

    Attributes:
        epochs: its length.
        labels_only: trained towards the labels alone; teacher and method play no part.
        start: the student's weights that it begins with: "last", those at the end of the phase before; "best", those
            of that phase's epoch with the best accuracy on the validation split of the training set.
    """

    epochs: int
    labels_only: bool = False
    start: str = "last"


@dataclass(frozen=True)
class Schedule:
    """SGD with momentum, and how its learning rate falls.

    Attributes:
        epochs: passes over the training set.
        lr: initial learning rate.
        milestones: shape "step": the rate drops after these epochs (counted from 1).
        lr_decay: factor of each drop.
        momentum: momentum of SGD.
        nesterov: Nesterov's form of it.
        weight_decay: L2 penalty.
        schedule: "step", or "cosine": half a wave from `lr` in the first epoch towards 0 after the last.
        phases: their epochs sum to `epochs`; each runs the schedule anew, in proportion to its length. Empty: one.
    """

    epochs: int
    lr: float
    milestones: Sequence[int]
    lr_decay: float
    momentum: float
    nesterov: bool
    weight_decay: float
    schedule: str = "step"
    phases: tuple[Phase, ...] = ()

    @classmethod
    def of(cls, recipe: RecipeOptions) -> Schedule:
        """The schedule of a recipe, in one phase."""
        return cls(**{field.name: getattr(recipe, field.name) for field in fields(cls) if field.name != "phases"})

    def lr_at(self, epoch: int) -> float:
        """Learning rate of epoch `epoch` (from 1).

        Step: lr * lr_decay^(milestones passed). Cosine: lr * (1 + cos(pi (e - 1) / E)) / 2. A phase has them in
        proportion, and never before its first epoch is over.
        """
        phase, since = self.phase_at(epoch)
        if self.schedule == "cosine":
            return self.lr * (1 + math.cos(math.pi * (since - 1) / phase.epochs)) / 2
        share = phase.epochs / self.epochs
        return self.lr * self.lr_decay ** sum(since > max(1, milestone * share) for milestone in self.milestones)

    def phase_at(self, epoch: int) -> tuple[Phase, int]:
        """The phase that epoch `epoch` (from 1) belongs to, and the epoch's number within it, from 1."""
        return phase_at(self.phases or (Phase(self.epochs),), epoch)

    def begins_anew(self, epoch: int) -> Phase | None:
        """The phase that begins with epoch `epoch`, unless it is the first."""
        phase, since = self.phase_at(epoch)
        return phase if since == 1 and epoch > 1 else None

    def next_start(self, epoch: int) -> str | None:
        """Which weights the phase after that of epoch `epoch` begins with; None if there is none."""
        phase, since = self.phase_at(epoch)
        following = epoch - since + phase.epochs + 1
        return self.phase_at(following)[0].start if following <= self.epochs else None


def phase_at(phases: Sequence[Phase], epoch: int) -> tuple[Phase, int]:
    """The phase that epoch `epoch` (from 1) belongs to, and the epoch's number within it, from 1."""
    first = 0
    for phase in phases:
        if epoch <= first + phase.epochs:
            return phase, epoch - first
        first += phase.epochs
    raise ValueError(f"epoch {epoch} is after the last phase, which ends with epoch {first}")
