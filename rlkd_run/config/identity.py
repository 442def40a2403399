"""What makes two runs the same run: a short hash of everything that can change the result, and a readable folder name.

Left out are options that cannot change a result (paths, devices, progress) and groups that play no part: the agent's
under a fixed temperature, the student's when a teacher is trained.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import re
from pathlib import Path
from typing import Any

from omegaconf import MISSING

from rlkd_run.config.run import RecipeOptions
from rlkd_run.config.runconfig import RunConfig
from rlkd_run.errors import ConfigError


def relevant(options: Any) -> dict[str, Any]:
    """The values of an options dataclass that can change a result."""
    values = {}
    for field in dataclasses.fields(options):
        value, declared = getattr(options, field.name), field.metadata
        if not declared.get("identity", True) or value == declared.get("neutral", MISSING):
            continue
        if (when := declared.get("when")) is None or getattr(options, when[0]) in when[1]:
            values[field.name] = relevant(value) if dataclasses.is_dataclass(value) else value
    return values


def short_hash(values: Any) -> str:
    """Eight hexadecimal digits of the SHA-256 of plain values, whatever the order of their keys."""
    text = json.dumps(values, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:8]


@functools.lru_cache(maxsize=64)
def _sha256(path: str, size: int, changed: int) -> str:  # noqa: ARG001 - keys of the cache
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def file_hash(path: str | Path) -> str:
    """SHA-256 of a file's content; read again only when its size or time has changed."""
    facts = Path(path).stat()
    return _sha256(str(path), facts.st_size, facts.st_mtime_ns)


def _content(path: str) -> str | None:
    """What a given file counts as; None where it is missing, which is complained of when it is read."""
    return file_hash(path) if Path(path).is_file() else None


def dataset_identity(config: RunConfig) -> dict[str, Any]:
    """Everything that decides which images are trained on and how they are shown."""
    values = relevant(config.dataset)
    if "root" in values:  # a folder of the user's own: its place is all that names it
        values["root"] = str(Path(values["root"]).resolve())
    return values


def teacher_recipe(config: RunConfig) -> RecipeOptions:
    """The recipe that a teacher is trained with: the run's, with what is the teacher's own."""
    return dataclasses.replace(config.recipe, **vars(config.teacher.recipe))


def teacher_identity(config: RunConfig) -> dict[str, Any]:
    """Everything that decides a teacher's weights.

    A given checkpoint is its content. A teacher that is trained here is the data set with its limits and split, the
    architecture, and its own recipe and seed; the run's seed plays no part.
    """
    teacher = config.teacher
    values: dict[str, Any] = {"source": teacher.source, "model": teacher.model}
    if teacher.checkpoint is not None:
        return {**values, "checkpoint": _content(teacher.checkpoint)}
    if teacher.pretrained:
        values["pretrained"] = True
    recipe = relevant(teacher_recipe(config))
    values |= {"seed": teacher.seed, "recipe": recipe, "dataset": dataset_identity(config)}
    if teacher.objective != "labels":
        nasty = relevant(teacher.nasty)
        if "adversary" in nasty:
            nasty["adversary"] = _content(nasty["adversary"])
        values |= {"objective": teacher.objective, "nasty": nasty}
    return values


def teacher_cell_hash(config: RunConfig) -> str:
    """Equal for teachers that differ in nothing but their seed."""
    return short_hash({**teacher_identity(config), "seed": None})


def cell_identity(config: RunConfig) -> dict[str, Any]:
    """Everything that can change the result of a distillation except its seed."""
    values: dict[str, Any] = {
        "dataset": dataset_identity(config),
        "teacher": teacher_identity(config),
        "student": relevant(config.student),
        "method": relevant(config.method),
        "temperature": relevant(config.temperature),
        "recipe": relevant(config.recipe),
    }
    del values["student"]["lr"]  # recipe.lr is what counts
    if config.auxiliary is not None:  # has the teacher's seed, and a rate of its own while the run's is its student's
        values["auxiliary"] = {"seed": config.teacher.seed, "own_lr": config.recipe.lr == config.student.lr}
    if config.uses_agent:
        values["agent"] = relevant(config.agent)
    if runtime := relevant(config.runtime):
        values["runtime"] = runtime
    if config.top.select_on_test:  # such a run stands for nothing else
        values["select_on_test"] = True
    return values


def cell_hash(config: RunConfig) -> str:
    """Equal for runs that differ in nothing but the seed."""
    return short_hash(cell_identity(config))


def run_hash(config: RunConfig) -> str:
    """Equal for equal runs."""
    return short_hash({**cell_identity(config), "seed": config.seed})


def _readable(*parts: str) -> str:
    return "-".join(re.sub(r"[^A-Za-z0-9_.]+", "_", part) for part in parts)


def run_folder(config: RunConfig) -> Path:
    """Where a distillation lives: same command, same folder."""
    name = _readable(
        config.dataset.name,
        config.teacher.model,
        config.student.model,
        config.method.name,
        config.temperature.name,
        f"seed{config.seed}",
        run_hash(config),
    )
    return Path(config.top.output_root) / config.top.series / name


def teacher_folder_name(config: RunConfig) -> str:
    """Name of a trained teacher's folder, below ``output_root/teachers`` and in the zoo that ships with the project."""
    kind = [] if config.teacher.objective == "labels" else [config.teacher.objective]
    return _readable(
        config.dataset.name,
        *kind,
        config.teacher.model,
        f"seed{config.teacher.seed}",
        short_hash(teacher_identity(config)),
    )


def teacher_folder(config: RunConfig) -> Path:
    """Where a teacher that is trained here lives, for every run that needs it."""
    return Path(config.top.output_root) / "teachers" / teacher_folder_name(config)


def folder_of(config: RunConfig) -> Path:
    """The folder of a job.

    Raises:
        ConfigError: the task leaves no run folder, so that there is nothing to sweep.
    """
    if config.task.name == "distill":
        return run_folder(config)
    if config.task.name == "train_teacher":
        return teacher_folder(config)
    raise ConfigError(f"task={config.task.name} takes one run at a time, not a sweep.")
