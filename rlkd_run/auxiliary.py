"""An auxiliary teacher: distilled from the teacher first, it then teaches in its place (`method.auxiliary`)."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from rlkd_run.config.composition import compose_one
from rlkd_run.config.identity import file_hash, run_folder
from rlkd_run.config.models import StudentOptions
from rlkd_run.config.runconfig import RunConfig
from rlkd_run.errors import ConfigError
from rlkd_run.record import RESULT, STUDENT, read_json
from rlkd_run.results.records import unusable


def auxiliary_run(config: RunConfig) -> RunConfig | None:
    """The distillation that makes the auxiliary teacher; None if the method has none.

    It is an ordinary run, in a folder of its own, with the teacher's seed, so that runs of all seeds share it. Stages
    are not compared: the two networks may differ in all but what they end in (arXiv 2005.00727, stage 1). Its learning
    rate is the one of its yaml, unless the run has set another than its own student's.
    """
    name = config.auxiliary
    if name is None:
        return None
    student, recipe = _student(name), config.recipe
    if recipe.lr == config.student.lr:
        recipe = replace(recipe, lr=student.lr)
    return replace(
        config,
        student=student,
        method=replace(config.method, auxiliary=None, critical_weight=0.0, decay=1.0, decay_epochs=1.0),
        recipe=recipe,
        top=replace(config.top, seed=config.teacher.seed),
        choices={**config.choices, "student": name},
    )


@functools.cache
def _student(name: str) -> StudentOptions:
    return compose_one([f"student={name}"]).student


def result_of(folder: Path) -> dict[str, Any]:
    """The record of an auxiliary teacher that has been distilled, whose weights are in the folder.

    Raises:
        ConfigError: one of them is of no use, or the weights are not those that were distilled there.
    """
    problem = unusable(folder)
    if problem is not None:
        raise ConfigError(problem)
    result, weights = read_json(folder / RESULT), folder / STUDENT
    anew = f"remove {folder} to have this auxiliary teacher distilled anew."
    if not weights.is_file():
        raise ConfigError(f"{weights} does not exist; {anew}")
    if result["student"].get("sha256") not in (None, file_hash(weights)):  # versions before noted none
        raise ConfigError(f"{weights} does not hold the weights that were distilled there: put those back, or {anew}")
    return result


def taught_by(config: RunConfig) -> RunConfig:
    """The configuration with the network that really teaches as its teacher."""
    auxiliary = auxiliary_run(config)
    if auxiliary is None:
        return config
    weights = run_folder(auxiliary) / STUDENT
    return replace(
        config,
        teacher=replace(
            config.teacher,
            source="zoo",
            model=auxiliary.student.model,
            pretrained=False,
            objective="labels",
            checkpoint=str(weights),
        ),
    )


def teachers_record(
    config: RunConfig, measured: Mapping[str, Any], auxiliary: Mapping[str, Any] | None
) -> dict[str, Any]:
    """What a result says of who taught: ``teacher``, and ``auxiliary`` where one taught in its place.

    Args:
        config: the run.
        measured: accuracy and weights of the network that taught.
        auxiliary: `result_of` that network; None: it is the teacher itself.
    """
    if auxiliary is None:
        return {"teacher": {"name": config.teacher.model, **measured}}
    return {"teacher": auxiliary["teacher"], "auxiliary": {"name": auxiliary["student"]["name"], **measured}}
