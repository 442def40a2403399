"""The training loop. It knows no method, no policy and no data set, and nothing in a step waits for the device."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from rlkd_run.capture import CapturedSteps, Recorder
from rlkd_run.data.dataset import Draw, DrawnLoader, TrainLoader
from rlkd_run.data.mixing import check_plan
from rlkd_run.instances import Instances
from rlkd_run.layer_rates import LayerRates
from rlkd_run.meters import EpochMeter
from rlkd_run.objectives import StepLosses, Supervised
from rlkd_run.optimizers import SGD
from rlkd_run.protocol import Batch, MixPlan
from rlkd_run.schedule import Schedule


class Trainer:
    """Trains one network towards an objective, epoch by epoch.

    Args:
        objective: gives the losses, and says what is trained and in which phases.
        loader: gives the mini-batches.
        schedule: of the learning rate, over all phases together.
        device: where everything lives.
        layer_rates: gives the network's layers learning rates of their own; None: all have the schedule's.
        recorder: captures whole steps; None: they are done one by one.

    Attributes:
        epoch: whole epochs done.
        step: steps done of the epoch under way.
        meter: means of the epoch under way.
        instances: temperatures of the epoch under way.
        captured: the captured steps; None where none are.
    """

    def __init__(
        self,
        objective: Supervised,
        loader: TrainLoader,
        schedule: Schedule,
        device: torch.device,
        layer_rates: LayerRates | None = None,
        recorder: Recorder | None = None,
    ) -> None:
        self.objective = objective
        self.loader = loader
        self.schedule = replace(schedule, phases=objective.phases)
        self.device = device
        self.layer_rates = layer_rates
        self.optimizer = SGD(
            self._groups(),
            lr=schedule.lr,
            momentum=schedule.momentum,
            nesterov=schedule.nesterov,
            weight_decay=schedule.weight_decay,
            fused=device.type in ("cpu", "cuda"),
        )
        self.epoch = 0
        self.step = 0
        self.meter = EpochMeter(device)
        self.instances = Instances(loader.num_images, device)
        self._first_bad_step = torch.full((1,), -1, device=device)
        self._recorder = recorder
        self.captured: CapturedSteps | None = None
        self._reads: Hashable = None  # by the losses, of the epoch's number
        self._position = torch.zeros(1, dtype=torch.int64, device=device)
        self._draw: Draw | None = None  # of the step that is captured or repeated, always in the same tensors
        self._mix: MixPlan | None = None  # likewise
        self._best: dict[str, Any] = {}  # of the phase under way: validation accuracy and weights, if the next asks

    def _groups(self) -> list[dict[str, Any]]:
        """Parameter groups, each with the factor `lr_factor` of its learning rate to the schedule's."""
        network, *others = self.objective.parameter_groups()
        layers = [network] if self.layer_rates is None else self.layer_rates.groups(network["params"])
        return [
            {"lr_factor": 1.0, **group} if "lr" not in group else {**group, "lr_factor": group["lr"] / self.schedule.lr}
            for group in [*layers, *others]
            if group["params"]
        ]

    @property
    def captures(self) -> bool:
        """Whether the steps of this epoch's full batches are captured."""
        drawn = self._recorder is not None and isinstance(self.loader, DrawnLoader)
        return drawn and self.objective.situation is not None

    def run_epoch(self, after_step: Callable[[], None]) -> None:
        """Train the next epoch, or what is left of it.

        Args:
            after_step: called after every step, with `step` counted; may raise to stop, and what it saves then
                goes on at the next step.
        """
        for _ in self.steps():
            after_step()

    def steps(self) -> Iterator[None]:
        """As `run_epoch`, for somebody who asks for one step after the other."""
        epoch = self.epoch + 1
        if self.step == 0:
            self.meter.reset()
            self.instances.reset()
            self._begin_phase(epoch)
            if self.layer_rates is not None:
                self.layer_rates.update(self.optimizer.param_groups)
        mix = self.objective.begin_epoch(epoch)
        reads, self._reads = self._reads, self.objective.reads(epoch)
        if reads != self._reads:
            self.captured = None  # it would go on with what was read then
        self.set_lr(self.schedule.lr_at(epoch))
        self.objective.model.train()
        if self.captures:
            steps = self._captured_steps(mix)
        else:
            if self._recorder is not None and self.epoch == 0 and self.step == 0:
                print(
                    "capture   not with this data set, policy or teacher cache: steps are done one by one", flush=True
                )
            steps = self._steps(epoch, mix)
        for images in steps:
            self.meter.count(images)
            self.step += 1
            yield
        self.objective.end_epoch()
        self.epoch, self.step = epoch, 0

    def _steps(self, epoch: int, mix: MixPlan | None) -> Iterator[int]:
        """Do the steps of an epoch one after the other; yields the number of images of each."""
        for batch in self.loader.epoch(epoch, mix, start_step=self.step):
            self._update(batch, epoch)
            yield len(batch.target)

    def _update(self, batch: Batch, epoch: int, position: Tensor | None = None) -> None:
        """One step, but for what Python counts; `position` as in `Observation`."""
        gradients = self.objective.network.weight_gradients
        if gradients is not None:
            gradients.begin()
        losses = self.objective.losses(batch, epoch, self.step, position)
        loss = torch.stack(list(losses.parts.values())).sum()
        with self.objective.beside.branch():  # until the gradients are collected
            self._note(losses, loss, batch.target, self.step if position is None else position)
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        if gradients is not None:
            gradients.collect()
        self.optimizer.step()
        self.objective.after_update(batch)

    def _captured_steps(self, mix: MixPlan | None) -> Iterator[int]:
        """As `_steps`, but full batches are captured, and repeated from what was drawn for them."""
        epoch, loader = self.epoch + 1, self.loader
        assert self._recorder is not None
        assert isinstance(loader, DrawnLoader)
        self.captured = self.captured or CapturedSteps(self._recorder)
        mix = self._kept_plan(mix)
        for draw in loader.draws(epoch, self.step):
            if len(draw.image) < self.loader.batch_size:
                self._update(loader.batch_of(draw, mix), epoch)
            else:
                self._position.fill_(self.step)
                kept = self._kept_draw(draw)
                work = partial(self._update_drawn, loader, kept, mix)
                self.captured.run(self.objective, None if mix is None else mix.labels, work)
            yield len(draw.image)

    def _update_drawn(self, loader: DrawnLoader, draw: Draw, mix: MixPlan | None) -> None:
        self._update(loader.batch_of(draw, mix), self.epoch + 1, self._position)

    def _kept_draw(self, draw: Draw) -> Draw:
        if self._draw is None:
            self._draw = Draw(*(value.clone() for value in draw))
        for kept, value in zip(self._draw, draw, strict=True):
            kept.copy_(value)
        return self._draw

    def _kept_plan(self, mix: MixPlan | None) -> MixPlan | None:
        if mix is None:
            return None
        check_plan(mix, self.loader.num_images)
        if self._mix is None:
            self._mix = MixPlan(mix.partner.to(self.device, copy=True), mix.weight.to(self.device, copy=True))
        self._mix.partner.copy_(mix.partner)
        self._mix.weight.copy_(mix.weight)
        return self._mix._replace(labels=mix.labels)

    def _begin_phase(self, epoch: int) -> None:
        """A phase starts with a fresh optimiser, and may start from the best weights of the phase before."""
        phase = self.schedule.begins_anew(epoch)
        if phase is None:
            return
        if phase.start == "best":
            self.objective.model.load_state_dict(self._best["weights"])
        self._best = {}
        self.optimizer.state.clear()
        self.captured = None  # it would go on with the state of old

    def note_validation(self, top1: float) -> None:
        """Keep the weights of the epoch that has ended, if the next phase may start from them.

        Args:
            top1: accuracy on the validation split, in percent.
        """
        if self.schedule.next_start(self.epoch) == "best" and top1 > self._best.get("top1", -1.0):
            weights = {name: value.clone() for name, value in self.objective.model.state_dict().items()}
            self._best = {"top1": top1, "weights": weights}

    def set_lr(self, lr: float) -> None:
        """Set the learning rate; a group with a factor of its own keeps its proportion."""
        for group in self.optimizer.param_groups:
            value = lr * group["lr_factor"]
            if self._recorder is None:
                group["lr"] = value
            elif isinstance(group["lr"], Tensor) and group["lr"].device.type == self.device.type:
                group["lr"].fill_(value)
            else:
                group["lr"] = torch.tensor(value, device=self.device)

    @torch.no_grad()
    def _note(self, losses: StepLosses, loss: Tensor, target: Tensor, step: int | Tensor) -> None:
        """Gather what the record needs, on the device."""
        size = len(target)
        values = {"loss": loss, **{f"loss_{name}": part for name, part in losses.parts.items()}}
        values["train_top1"] = (losses.logits.argmax(1) == target).float().mean() * 100
        if losses.temperature is not None:
            temperature = losses.temperature.float()
            values["t_mean"] = temperature.mean()
            values["t_square"] = temperature.square().mean()
            self.instances.note(step * self.loader.batch_size, temperature, losses.logits, target)
        self.meter.add(values, size)
        bad = ~torch.isfinite(loss) & (self._first_bad_step < 0)
        self._first_bad_step.copy_(torch.where(bad, step, self._first_bad_step))

    def bad_step(self) -> int | None:
        """First step (from 0) of this epoch whose loss was not finite. Waits for the device: ask before saving only."""
        step = int(self._first_bad_step)
        return None if step < 0 else step

    def bad_temperature(self) -> tuple[int, float] | None:
        """First step (from 0) of this epoch with an `Instances.impossible` temperature, and that. Waits likewise."""
        found = self.instances.impossible()
        return None if found is None else (found[0] // self.loader.batch_size, found[1])

    def _lay_out_momentum(self) -> None:
        """Give what the optimiser keeps the strides of its parameters, which fused kernels take for granted.

        A run may be taken up in another memory layout: on another device, or as `runtime.channels_last` asks.
        """
        for parameter, kept in self.optimizer.state.items():
            for name, value in kept.items():
                if isinstance(value, Tensor) and value.shape == parameter.shape:
                    kept[name] = torch.empty_like(parameter).copy_(value)

    def state_dict(self) -> dict[str, Any]:
        """Everything that a resumed training needs to end in the same bits."""
        return {
            "epoch": self.epoch,
            "step": self.step,
            "objective": self.objective.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "meter": self.meter.state_dict(),
            "instances": self.instances.state_dict(),
            "best": self._best,
            "generator": torch.get_rng_state(),
            # Of this run's own GPU alone: where it goes on, there may be fewer to see.
            "cuda_generator": torch.cuda.get_rng_state(self.device) if self.device.type == "cuda" else None,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` gave."""
        self.captured = None
        self.epoch, self.step = state["epoch"], state["step"]
        self.objective.load_state_dict(state["objective"])
        self.optimizer.load_state_dict(state["optimizer"])
        self._lay_out_momentum()
        self.meter.load_state_dict(state["meter"])
        self.instances.load_state_dict(state["instances"])
        self._best = state["best"]
        torch.set_rng_state(state["generator"])
        if self.device.type == "cuda" and state["cuda_generator"] is not None:  # None if it was written on a CPU
            torch.cuda.set_rng_state(state["cuda_generator"], self.device)
