"""A training from its parts: alike for a run, for a teacher's own training, and for whoever measures one of them.

A distillation is put together in two steps, because a run takes up its checkpoint and measures its teacher in between.
"""

from __future__ import annotations

import torch

from rlkd_run.capture import recorder_for
from rlkd_run.config.run import RecipeOptions, RuntimeOptions
from rlkd_run.config.runconfig import RunConfig
from rlkd_run.data.dataset import TrainLoader
from rlkd_run.layer_rates import layer_rates
from rlkd_run.objectives import Distillation, Supervised
from rlkd_run.schedule import Schedule
from rlkd_run.teacher_cache import Teacher
from rlkd_run.training import Trainer


def trainer_for(
    objective: Supervised, loader: TrainLoader, recipe: RecipeOptions, runtime: RuntimeOptions, device: torch.device
) -> Trainer:
    """What trains a network as its recipe says, with steps captured where the runtime's options ask for it."""
    rates = layer_rates(recipe, objective.model)
    return Trainer(objective, loader, Schedule.of(recipe), device, rates, recorder_for(runtime, device))


def give_answers(config: RunConfig, objective: Distillation, answers: Teacher) -> None:
    """Say who answers for the teacher, and have the student compiled if the run asks for it: now it can be trained."""
    objective.answers = answers
    if config.runtime.compile == "all":
        objective.student.compile(config.recipe.batch_size)
