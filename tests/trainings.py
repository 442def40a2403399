"""A training on the CPU as a run puts it together, and how far it goes."""

from __future__ import annotations

import pytest
import torch
from composed import composed

from rlkd_run import teachers
from rlkd_run.capture import Recorder
from rlkd_run.experiment import build, open_data
from rlkd_run.layer_rates import layer_rates
from rlkd_run.schedule import Schedule
from rlkd_run.seeding import derive_seed
from rlkd_run.training import Trainer

CPU = torch.device("cpu")


class StopHereError(Exception):
    pass


def training(*overrides: str, recorder: Recorder | None = None) -> Trainer:
    """The training of a composed run, whose teacher has fresh weights."""
    config = composed(*overrides)
    dataset = open_data(config, CPU)
    objective = build(config, dataset, teachers.build(config, dataset, CPU), CPU)
    torch.manual_seed(derive_seed(config.seed, "training"))
    loader = dataset.train_batches(config.recipe.batch_size, derive_seed(config.seed, "data"))
    rates = layer_rates(config.recipe, objective.model)
    return Trainer(objective, loader, Schedule.of(config.recipe), CPU, rates, recorder)


def small(*overrides: str) -> Trainer:
    """Seven steps an epoch, the last of them short."""
    return training("dataset=digits", "dataset.train_limit=110", "teacher=resnet14", "student=resnet8",
                    "recipe.epochs=3", "recipe.batch_size=16", *overrides)  # fmt: skip


def nothing() -> None:
    pass


def run_until(trainer: Trainer, epochs: int, step: int) -> None:
    """Whole epochs, then some steps of the next one."""
    for _ in range(epochs):
        trainer.run_epoch(nothing)

    def after_step() -> None:
        if trainer.step == step:
            raise StopHereError

    if step:
        with pytest.raises(StopHereError):
            trainer.run_epoch(after_step)
