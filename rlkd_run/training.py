"""The training loop. It knows no method, no policy and no data set, and nothing in a step waits for the device."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor

from rlkd_run.config.run import RecipeOptions
from rlkd_run.data.dataset import TrainLoader
from rlkd_run.meters import EpochMeter
from rlkd_run.objectives import Objective, StepLosses


@dataclass(frozen=True)
class Schedule:
    """SGD with momentum and a step schedule, as the CIFAR literature trains.

    Attributes:
        epochs: passes over the training set.
        lr: initial learning rate.
        milestones: the rate drops after these epochs (counted from 1).
        lr_decay: factor of each drop.
        momentum: momentum of SGD.
        nesterov: Nesterov's form of it.
        weight_decay: L2 penalty.
    """

    epochs: int
    lr: float
    milestones: Sequence[int]
    lr_decay: float
    momentum: float
    nesterov: bool
    weight_decay: float

    @classmethod
    def of(cls, recipe: RecipeOptions) -> Schedule:
        """The student's schedule."""
        return cls(**{field.name: getattr(recipe, field.name) for field in fields(cls)})

    def lr_at(self, epoch: int) -> float:
        """Learning rate of epoch `epoch` (from 1): lr * lr_decay^(milestones passed)."""
        return self.lr * self.lr_decay ** sum(epoch > milestone for milestone in self.milestones)


class Trainer:
    """Trains one network towards an objective, epoch by epoch.

    Attributes:
        epoch: whole epochs done.
        step: steps done of the epoch under way.
        meter: means of the epoch under way.
    """

    def __init__(self, objective: Objective, loader: TrainLoader, schedule: Schedule, device: torch.device) -> None:
        self.objective = objective
        self.loader = loader
        self.schedule = schedule
        self.device = device
        self.optimizer = torch.optim.SGD(
            objective.parameters(),
            lr=schedule.lr,
            momentum=schedule.momentum,
            nesterov=schedule.nesterov,
            weight_decay=schedule.weight_decay,
            fused=device.type in ("cpu", "cuda"),
        )
        self.epoch = 0
        self.step = 0
        self.meter = EpochMeter(device)
        self.temperatures = torch.full((loader.num_images,), torch.nan, device=device)
        self._first_bad_step = torch.tensor(-1, device=device)

    def run_epoch(self, after_step: Callable[[], None]) -> None:
        """Train the next epoch, or what is left of it.

        Args:
            after_step: called after every step, with `step` counted; may raise to stop, and what it saves then
                goes on at the next step.
        """
        epoch = self.epoch + 1
        if self.step == 0:
            self.meter.reset()
            self.temperatures.fill_(torch.nan)
        mix = self.objective.begin_epoch(epoch)
        self.set_lr(self.schedule.lr_at(epoch))
        self.objective.model.train()
        for batch in self.loader.epoch(epoch, mix, start_step=self.step):
            losses = self.objective.losses(batch, epoch, self.step)
            loss = torch.stack(list(losses.parts.values())).sum()
            self.optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            self.optimizer.step()
            self.objective.after_update(batch)
            self._count(losses, loss, batch.target)
            self.step += 1
            after_step()
        self.objective.end_epoch()
        self.epoch, self.step = epoch, 0

    def set_lr(self, lr: float) -> None:
        """Set the learning rate; a group with a factor of its own keeps its proportion."""
        for group in self.optimizer.param_groups:
            group["lr"] = lr * group.get("lr_factor", 1.0)

    @torch.no_grad()
    def _count(self, losses: StepLosses, loss: Tensor, target: Tensor) -> None:
        """Gather what the record needs, on the device."""
        size = len(target)
        values = {"loss": loss, **{f"loss_{name}": part for name, part in losses.parts.items()}}
        values["train_top1"] = (losses.logits.argmax(1) == target).float().mean() * 100
        if losses.temperature is not None:
            temperature = losses.temperature.float()
            values["t_mean"] = temperature.mean()
            values["t_square"] = temperature.square().mean()
            start = self.step * self.loader.batch_size
            self.temperatures[start : start + size] = temperature
        self.meter.add(values, size)
        bad = ~torch.isfinite(loss) & (self._first_bad_step < 0)
        self._first_bad_step = torch.where(bad, self.step, self._first_bad_step)

    def bad_step(self) -> int | None:
        """First step (from 0) of this epoch whose loss was not finite. Waits for the device: ask before saving only."""
        step = int(self._first_bad_step)
        return None if step < 0 else step

    def state_dict(self) -> dict[str, Any]:
        """Everything that a resumed training needs to end in the same bits."""
        return {
            "epoch": self.epoch,
            "step": self.step,
            "objective": self.objective.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "meter": self.meter.state_dict(),
            "temperatures": self.temperatures,
            "generator": torch.get_rng_state(),
            "cuda_generators": torch.cuda.get_rng_state_all() if self.device.type == "cuda" else [],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` gave."""
        self.epoch, self.step = state["epoch"], state["step"]
        self.objective.load_state_dict(state["objective"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.meter.load_state_dict(state["meter"])
        self.temperatures.copy_(state["temperatures"])
        torch.set_rng_state(state["generator"])
        if self.device.type == "cuda" and state["cuda_generators"]:
            torch.cuda.set_rng_state_all(state["cuda_generators"])
