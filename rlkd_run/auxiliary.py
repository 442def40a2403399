"""An auxiliary teacher: distilled from the teacher first, it then teaches in its place (`method.auxiliary`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from rlkd_run.config.identity import run_folder
from rlkd_run.config.runconfig import RunConfig
from rlkd_run.record import read_json

STUDENT = "student.safetensors"


def auxiliary_run(config: RunConfig) -> RunConfig | None:
    """The distillation that makes the auxiliary teacher; None if the method has none.

    It is an ordinary run, in a folder of its own, with the teacher's seed, so that runs of all seeds share it. Stages
    are not compared: the two networks may differ in all but what they end in (arXiv 2005.00727, stage 1).
    """
    name = getattr(config.method, "auxiliary", None)
    if name is None:
        return None
    return replace(
        config,
        student=replace(config.student, source="zoo", model=name, pretrained=False),
        method=replace(config.method, auxiliary=None, critical_weight=0.0),
        top=replace(config.top, seed=config.teacher.seed),
        choices={**config.choices, "student": name},
    )


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


def teachers_record(config: RunConfig, measured: Mapping[str, Any]) -> dict[str, Any]:
    """What a result says of who taught: ``teacher``, and ``auxiliary`` where one taught in its place.

    Args:
        config: the run.
        measured: accuracy and weights of the network that taught.
    """
    auxiliary = auxiliary_run(config)
    if auxiliary is None:
        return {"teacher": {"name": config.teacher.model, **measured}}
    first = read_json(run_folder(auxiliary) / "result.json")
    return {"teacher": first["teacher"], "auxiliary": {"name": auxiliary.student.model, **measured}}
