"""What no single option can know: values that contradict each other. Everything is gathered, nothing raised early."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

from rlkd_run.config.build import nearest
from rlkd_run.config.methods import AnnealingOptions
from rlkd_run.config.registry import METHODS
from rlkd_run.config.run import INSPECTIONS
from rlkd_run.config.runconfig import RunConfig
from rlkd_run.models.names import ZOO_NAMES


def contradictions(config: RunConfig) -> list[str]:
    """What is wrong with a configuration whose values have the right types, each in one sentence."""
    problems: list[str] = []
    _networks(config, problems)
    _recipe(config, problems)
    if config.uses_agent and config.task.name == "distill":
        _agent(config, problems)
    if config.task.name == "distill":
        _temperature(config, problems)
        _method(config, problems)
    _objective(config, problems)
    _runtime(config, problems)
    _places(config, problems)
    _task(config, problems)
    return problems


def _networks(config: RunConfig, problems: list[str]) -> None:
    for role, options in (("teacher", config.teacher), ("student", config.student)):
        if options.source == "zoo":
            if options.model not in ZOO_NAMES:
                problems.append(f"{role}.model={options.model} is not in the zoo; {nearest(options.model, ZOO_NAMES)}")
            if options.pretrained:
                problems.append(f"{role}.pretrained is for timm models; the zoo publishes no weights.")
    if config.teacher.objective == "nasty" and config.teacher.pretrained:
        problems.append("teacher.objective=nasty trains a teacher, and teacher.pretrained=true takes a published one.")
    if config.teacher.objective == "nasty" and config.teacher.nasty is None:
        problems.append("teacher.objective=nasty needs the options teacher.nasty.")
    if config.teacher.pretrained and config.teacher.checkpoint:
        problems.append("teacher.pretrained and teacher.checkpoint exclude each other: one of them gives the weights.")


def _recipe(config: RunConfig, problems: list[str]) -> None:
    for key, milestones in (
        ("recipe.milestones", config.recipe.milestones),
        ("teacher.recipe.milestones", config.teacher.recipe.milestones),
    ):
        if milestones != sorted(milestones):
            problems.append(f"{key} must rise, not {milestones}.")
    tempbalance = config.recipe.tempbalance
    if tempbalance is None and "tempbalance" in (config.recipe.lr_policy, config.teacher.recipe.lr_policy):
        problems.append("lr_policy=tempbalance needs the options recipe.tempbalance.")
    if tempbalance is not None and tempbalance.low > tempbalance.high:
        problems.append("recipe.tempbalance.low must not be greater than recipe.tempbalance.high.")
    if config.recipe.nesterov and config.recipe.momentum == 0:
        problems.append("recipe.nesterov needs recipe.momentum > 0.")
    for key in ("mean", "std"):
        if len(getattr(config.dataset, key, (0, 0, 0))) != 3:
            problems.append(f"dataset.{key} must have three values, one a channel.")


def _agent(config: RunConfig, problems: list[str]) -> None:
    agent, epochs = config.agent, config.recipe.epochs
    if agent.t_min > agent.t_max:
        problems.append(f"agent.t_min={agent.t_min} must not be greater than agent.t_max={agent.t_max}.")
    if not agent.state.features:
        problems.append("agent.state.features must name at least one feature.")
    if agent.time_axis == "instances" and agent.rollout_steps != 1:
        problems.append("agent.time_axis=instances updates once a batch: agent.rollout_steps must be 1.")
    if agent.time_axis == "instances" and agent.reward in ("loss_drop", "probe"):
        problems.append(f"agent.reward={agent.reward} needs agent.time_axis=steps.")
    for name in ("high", "low", "weights"):
        if len(getattr(agent.exploration, name)) != 2:
            problems.append(f"agent.exploration.{name} must have two values, from and to.")
    for name in ("high", "low"):
        band = getattr(agent.exploration, name)
        if len(band) == 2 and band[0] >= band[1]:
            problems.append(f"agent.exploration.{name} must rise, not {band}.")

    if epochs < 1 or agent.train_every < 1:
        return  # have complaints of their own
    if agent.warmup_epochs > epochs:
        problems.append(
            f"The agent would never set a temperature: agent.warmup_epochs={agent.warmup_epochs} is beyond "
            f"recipe.epochs={epochs}."
        )
    elif -(-agent.warmup_epochs // agent.train_every) * agent.train_every > epochs:  # the first that is divisible
        problems.append(
            f"The agent would never be trained: no epoch from {agent.warmup_epochs} (agent.warmup_epochs) to {epochs} "
            f"is divisible by agent.train_every={agent.train_every}."
        )


def _temperature(config: RunConfig, problems: list[str]) -> None:
    method, policy = config.method.name, config.temperature.name
    if not config.uses_temperature and policy != "fixed":
        lost = " and ".join(f"method.{name}=0" for name in config.lost_temperature)
        why = f"with {lost} has" if METHODS[method].uses_temperature else "has"
        problems.append(
            f"method={method} {why} no temperature that temperature={policy} could set; use temperature=fixed."
        )
    if policy == "lskd_std" and getattr(config.method, "standardise", False):
        problems.append(
            "temperature=lskd_std divides by a deviation, and method.standardise=true has made all deviations 1; "
            "use temperature=fixed."
        )
    if policy == "random" and config.temperature.law == "uniform" and config.agent.t_min <= 0:
        problems.append("temperature.law=uniform draws down to agent.t_min, which must be greater than 0.")


def _method(config: RunConfig, problems: list[str]) -> None:
    auxiliary = config.auxiliary
    if auxiliary is not None and auxiliary not in ZOO_NAMES:
        problems.append(f"method.auxiliary={auxiliary} is not in the zoo; {nearest(auxiliary, ZOO_NAMES)}")
    if not isinstance(config.method, AnnealingOptions):
        return
    if config.method.regression_epochs >= config.recipe.epochs:
        problems.append(
            f"method.regression_epochs={config.method.regression_epochs} leaves no epoch of recipe.epochs="
            f"{config.recipe.epochs} to the second phase, on labels."
        )
    if config.method.start == "best" and getattr(config.dataset, "val_split", 0) == 0:
        problems.append("method.start=best needs a validation split to choose by; set dataset.val_split, e.g. to 0.1.")


def _objective(config: RunConfig, problems: list[str]) -> None:
    top = config.top
    if top.objective == "test_top1" and not top.select_on_test:
        problems.append(
            "objective=test_top1 chooses settings by the test set, whose accuracies then mean nothing; take "
            "objective=val_top1, or say select_on_test=true, which stays in the record and the tables."
        )
    if top.objective == "test_top1" and config.task.name == "train_teacher":
        problems.append(
            "objective=test_top1 is not for task=train_teacher: what learns from such a teacher would carry no mark; "
            "take objective=val_top1."
        )
    if top.objective == "val_top1" and getattr(config.dataset, "val_split", 0) == 0:
        problems.append("objective=val_top1 needs images to choose by; set dataset.val_split, e.g. to 0.1.")
    if top.select_on_test and top.objective != "test_top1":
        problems.append("select_on_test=true is for objective=test_top1.")
    if top.trials is not None and top.objective is None:
        problems.append("trials needs an objective to compare by, e.g. objective=val_top1.")


def _runtime(config: RunConfig, problems: list[str]) -> None:
    if config.runtime.wandb is not None and importlib.util.find_spec("wandb") is None:
        problems.append(f"runtime.wandb={config.runtime.wandb} needs Weights & Biases: pip install 'rlkd-run[wandb]'.")
    if config.runtime.cohort > 1 and config.runtime.wandb is not None:
        problems.append(
            "runtime.wandb takes one run a process, so runtime.cohort must be 1; metrics.csv holds the same rows."
        )


def _places(config: RunConfig, problems: list[str]) -> None:
    for key, value, what in (
        ("dataset.root", getattr(config.dataset, "root", None), "the folder of the images"),
        ("output_root", config.top.output_root, "a folder for run folders and trained teachers"),
        ("series", config.top.series, "a folder below output_root"),
    ):
        if value is not None and not value.strip():
            problems.append(f"{key} is empty: it names {what}.")
    series = Path(config.top.series)
    if series.is_absolute() or ".." in series.parts:
        problems.append(
            f"series={series} leads out of output_root={config.top.output_root}; a series is a name inside it, e.g. "
            f"{series.name.strip('.') or 'first'}."
        )


def _task(config: RunConfig, problems: list[str]) -> None:
    if config.task.name == "train_teacher" and config.teacher.checkpoint is not None:
        problems.append("task=train_teacher trains the teacher's weights: teacher.checkpoint must not give them.")
    needs_run = config.task.name in INSPECTIONS
    if needs_run and config.top.run is None:
        problems.append(f"task={config.task.name} needs run=FOLDER, the folder of a finished run.")
    if needs_run and config.top.run is not None:
        try:
            os.stat(Path(config.top.run, "result.json"))
        except (FileNotFoundError, NotADirectoryError):
            problems.append(f"run={config.top.run} is not the folder of a finished run: it has no result.json.")
        except OSError as error:
            problems.append(f"run={config.top.run} cannot be read: {error.strerror}.")
    if not needs_run and config.top.run is not None:
        problems.append(f"run={config.top.run} is for task=evaluate and task=export, not task={config.task.name}.")
