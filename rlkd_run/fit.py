"""A whole training: epochs, evaluation, records and checkpoints, and how it ends early without losing anything."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from torch import nn

from rlkd_run import device, environment
from rlkd_run.checkpoint import Checkpoints
from rlkd_run.config.run import RuntimeOptions
from rlkd_run.config.runconfig import RunConfig
from rlkd_run.data.dataset import Dataset, images_record
from rlkd_run.errors import Interrupted, RunError
from rlkd_run.evaluation import Accuracy, evaluate
from rlkd_run.interrupt import StopRequest
from rlkd_run.progress import EpochBar, describe, with_spread
from rlkd_run.record import METRICS, TEMPERATURES, RunFolder
from rlkd_run.tensorboard_log import TensorboardLog
from rlkd_run.training import Trainer


@dataclass
class History:
    """What the epochs of a run came to.

    Attributes:
        rows: one an epoch, as in ``metrics.csv``.
        temperatures: one an epoch whose instances had temperatures of their own, as in ``temperatures.csv``.
        seconds: spent in training steps, over all sittings.
        images: trained on, over all sittings.
        epoch_seconds, epoch_images: the same of the epoch that is under way alone.
        wall_seconds: spent altogether, with evaluation and saving, over all sittings.
    """

    rows: list[dict[str, Any]] = field(default_factory=list)
    temperatures: list[dict[str, Any]] = field(default_factory=list)
    seconds: float = 0.0
    images: int = 0
    epoch_seconds: float = 0.0
    epoch_images: int = 0
    wall_seconds: float = 0.0

    def account(self, seconds: float, images: int) -> None:
        """Add training steps of the epoch that is under way."""
        self.seconds += seconds
        self.images += images
        self.epoch_seconds += seconds
        self.epoch_images += images

    def end_epoch(self) -> float:
        """The throughput of the epoch that has ended, in images a second; the next one begins at zero."""
        rate = self.epoch_images / self.epoch_seconds
        self.epoch_seconds, self.epoch_images = 0.0, 0
        return rate

    def cost(self) -> dict[str, float]:
        """Mean throughput of training and time of the whole run, as they go into the record."""
        return {"images_per_second": self.images / self.seconds, "wall_seconds": self.wall_seconds}

    def best_and_last(self, prefix: str) -> dict[str, Any]:
        """Top-1 and top-5 of the epoch with the best top-1 (the first of equals), and of the last epoch."""
        best = max(self.rows, key=lambda row: float(row[f"{prefix}_top1"]))
        last = self.rows[-1]
        top1 = {"best": best[f"{prefix}_top1"], "last": last[f"{prefix}_top1"], "best_epoch": best["epoch"]}
        return {"top1": top1, "top5": {"best": best[f"{prefix}_top5"], "last": last[f"{prefix}_top5"]}}


def evaluations(model: nn.Module, dataset: Dataset, batch_size: int) -> dict[str, Callable[[], Accuracy]]:
    """What is measured after every epoch: on the validation split if there is one, and on the test set."""
    batches = {"val": dataset.val_batches(batch_size), "test": dataset.test_batches(batch_size)}
    return {split: partial(evaluate, model, loader) for split, loader in batches.items() if loader is not None}


def common_result(config: RunConfig, dataset: Dataset, fit: Fit, *, seed: int) -> dict[str, Any]:
    """What the results of all trainings have alike, whoever was trained.

    Args:
        config: what it was trained under.
        dataset: what it was trained on.
        fit: the training, which is over.
        seed: of the training.
    """
    history, trainer = fit.history, fit.trainer
    return {
        "validation": history.best_and_last("val") if dataset.num_val else None,
        "dataset": config.dataset.name,
        "images": images_record(dataset),
        "seed": seed,
        "epochs": trainer.schedule.epochs,
        **history.cost(),
        "config": config.to_dict(),
        "choices": config.choices,
        **environment.provenance(device.describe(trainer.device)),
    }


@dataclass
class Fit:
    """Carries a trainer through its epochs.

    Attributes:
        trainer: what is trained.
        folder: where the records go.
        runtime: progress, checkpoints, TensorBoard.
        evaluations: measures by prefix, e.g. ``{"test": ...}``; called after every epoch.
        facts: further values that every checkpoint carries, e.g. the teacher's accuracy.
        label: what the line of an epoch begins with, where several runs share a terminal.
        lr_option: the option that sets the learning rate.
    """

    trainer: Trainer
    folder: RunFolder
    runtime: RuntimeOptions
    evaluations: dict[str, Callable[[], Accuracy]]
    facts: dict[str, Any] = field(default_factory=dict)
    label: str = ""
    lr_option: str = "recipe.lr"

    def __post_init__(self) -> None:
        self.history = History()
        self.checkpoints = Checkpoints(self.folder.path / "checkpoints")
        self._saved = self._accounted = time.monotonic()
        self._has_checkpoint = False

    def resume(self) -> bool:
        """Take up the newest checkpoint that verifies; False if there is none.

        Raises:
            RunError: it verifies, but is not of this program's making; or the disk could not be read, or is full.
        """
        try:
            state = self.checkpoints.load()
        except OSError as error:
            raise RunError(
                f"The checkpoints in {self.checkpoints.folder} could not be read: {error.strerror}; "
                "they are as they were, and the same command tries again."
            ) from error
        if state is None:
            return False
        try:
            self.trainer.load_state_dict(state["trainer"])
            self.history = History(**state["history"])
            self.facts = state["facts"]
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise RunError(
                f"The checkpoints in {self.checkpoints.folder} do not fit this run: another version of rlkd-run, or "
                "of your own code, wrote them. Finish the run with that version, or remove the folder to start anew."
            ) from error
        self._has_checkpoint = True
        self._write_history()  # the sitting before may have ended between a checkpoint and these
        return True

    def run(self) -> History:
        """Train every epoch that is left.

        Raises:
            Interrupted, RunError: as `steps`.
        """
        with StopRequest() as stop:
            for _ in self.steps(stop):
                pass
        return self.history

    def steps(self, stop: StopRequest) -> Iterator[None]:
        """Train every epoch that is left, for somebody who asks for one step after the other.

        Args:
            stop: looked at after every step.

        Raises:
            Interrupted: a signal asked for it; everything is saved.
            RunError: the loss or a temperature is not finite, or a checkpoint could not be written; the last good one
                is kept.
        """
        trainer = self.trainer
        with ExitStack() as stack:
            logs = [self._tensorboard(stack), self._wandb(stack)]
            while trainer.epoch < trainer.schedule.epochs:
                self.folder.status("running", epoch=trainer.epoch + 1, epochs=trainer.schedule.epochs, phase=None)
                yield from self._epoch(stop)
                row = self._row()
                self.history.rows.append(row)
                profile = trainer.instances.profile()
                if profile:
                    self.history.temperatures.append({"epoch": trainer.epoch, **profile})
                if "val_top1" in row:
                    trainer.note_validation(row["val_top1"])
                for log in logs:  # before the epoch counts as done: one that is done again takes their place
                    log(row)
                self._save()
                self._write_history()
                print(self.label + _line(row, trainer.schedule.epochs), flush=True)
                if stop.signal_number is not None and trainer.epoch < trainer.schedule.epochs:
                    raise Interrupted(stop.signal_number)

    def _epoch(self, stop: StopRequest) -> Iterator[None]:
        trainer = self.trainer
        bar = EpochBar(
            trainer.epoch + 1,
            trainer.schedule.epochs,
            trainer.loader.steps_per_epoch,
            trainer.step,
            self.runtime.progress,
            trainer.device,
        )
        clock = _Clock(self.history, trainer.meter.images if trainer.step else 0)
        try:
            for _ in trainer.steps():
                bar.update(trainer.meter, trainer.loader.batch_size, trainer.objective.metrics)
                overdue = time.monotonic() - self._saved > 60 * self.runtime.checkpoint_minutes
                if overdue or stop.signal_number is not None:
                    clock.stop(trainer.meter.images)
                    self._save()
                    clock.start()
                if stop.signal_number is not None:
                    raise Interrupted(stop.signal_number)
                yield
            self._check_finite()  # waits for the device, so that the time measured is all of the epoch's
            clock.stop(trainer.meter.images)
        finally:
            bar.close()

    def _check_finite(self) -> None:
        trainer = self.trainer
        step, temperature = trainer.bad_step(), trainer.bad_temperature()
        policy = trainer.objective.sets_temperatures
        epoch = trainer.epoch + (1 if trainer.step else 0)
        if temperature is not None and (step is None or temperature[0] <= step):
            told = (
                f"{policy} gives temperatures that are not positive and finite since step {temperature[0] + 1} of "
                f"epoch {epoch}, e.g. {temperature[1]:g}."
            )
        elif step is not None:
            first = step * trainer.loader.batch_size
            beside = policy is not None and math.isnan(trainer.instances.temperatures[first])
            told = (
                f"The loss is not finite since step {step + 1} of epoch {epoch}"
                + (f", nor is the temperature that {policy} gives" if beside else "")
                + f"; a smaller {self.lr_option} usually helps."
            )
        else:
            return
        kept = f" The last good state is in {self.checkpoints.folder}." if self.history.rows else ""
        raise RunError(told + kept)

    def _save(self) -> None:
        self._check_finite()
        now = time.monotonic()
        self.history.wall_seconds += now - self._accounted
        self._accounted = now
        state = {"trainer": self.trainer.state_dict(), "history": vars(self.history), "facts": self.facts}
        try:
            self.checkpoints.save(state, epoch=self.trainer.epoch, step=self.trainer.step)
        except OSError as error:
            if not os.path.exists(self.folder.path):
                left = "somebody has moved or removed the run folder."
            elif self._has_checkpoint:
                left = "the previous one is whole, and the same command goes on from it."
            else:
                left = "it would have been the first, so the same command starts anew."
            raise RunError(
                f"A checkpoint could not be written to {self.checkpoints.folder}: {error.strerror}; {left}"
            ) from error
        self._saved = time.monotonic()
        self._has_checkpoint = True

    def _write_history(self) -> None:
        self.folder.write_csv(METRICS, self.history.rows)
        self.folder.write_csv(TEMPERATURES, self.history.temperatures)

    def _row(self) -> dict[str, Any]:
        trainer = self.trainer
        row: dict[str, Any] = {"epoch": trainer.epoch, "lr": trainer.schedule.lr_at(trainer.epoch)}
        for prefix, measure in self.evaluations.items():
            accuracy = measure()
            row |= {f"{prefix}_top1": accuracy.top1, f"{prefix}_top5": accuracy.top5}
        row |= with_spread(trainer.meter.read())
        seen = trainer.instances.seen()
        if len(seen):
            row |= {"t_min": float(seen.min()), "t_max": float(seen.max())}
        row |= {name: float(value) for name, value in trainer.objective.metrics().items()}
        row["images_per_second"] = self.history.end_epoch()
        return row

    def _tensorboard(self, stack: ExitStack) -> Callable[[dict[str, Any]], None]:
        if not self.runtime.tensorboard:
            return lambda row: None  # noqa: ARG005
        events = stack.enter_context(closing(TensorboardLog(self.folder.path, self.trainer.epoch + 1)))
        return lambda row: events.log(row, self.trainer.instances.seen())

    def _wandb(self, stack: ExitStack) -> Callable[[dict[str, Any]], None]:
        if self.runtime.wandb is None:
            return lambda row: None  # noqa: ARG005
        from rlkd_run.wandb_log import WandbLog

        return stack.enter_context(WandbLog(self.folder.path, self.runtime)).log


def _line(row: dict[str, Any], epochs: int) -> str:
    accuracy = "  ".join(
        f"{split} {row[f'{split}_top1']:.2f} %" for split in ("train", "val", "test") if f"{split}_top1" in row
    )
    return (
        f"epoch {row['epoch']:>{len(str(epochs))}}/{epochs}  {accuracy}  {describe(row)}  "
        f"{row['images_per_second']:.0f} img/s"
    )


class _Clock:
    """Adds training time and images to the history, without what evaluation and saving take."""

    def __init__(self, history: History, images: int) -> None:
        self._history = history
        self._images = images
        self.start()

    def start(self) -> None:
        self._began = time.monotonic()

    def stop(self, images: int) -> None:
        self._history.account(time.monotonic() - self._began, images - self._images)
        self._images = images
