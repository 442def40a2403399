"""Which file holds a teacher's weights, so that a sweep knows which teachers are missing; never imports torch."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from rlkd_run.config.identity import teacher_folder, teacher_folder_name
from rlkd_run.config.runconfig import RunConfig
from rlkd_run.errors import ConfigError
from rlkd_run.record import RESULT, finished, read_json

WEIGHTS = "teacher.safetensors"


def zoo_folder() -> Path:
    """The teachers that ship with the project: inside the installed package, or beside it in a checkout."""
    inside = Path(__file__).resolve().parent / "zoo"
    return inside if inside.is_dir() else inside.parent.parent / "zoo"


def find_weights(config: RunConfig) -> Path | None:
    """The file of the teacher's weights; None if it has to be trained first, or is ready as timm publishes it."""
    if config.teacher.checkpoint is not None:
        return Path(config.teacher.checkpoint)
    trained = teacher_folder(config)
    if finished(trained):
        return trained / WEIGHTS
    shipped = zoo_folder() / f"{teacher_folder_name(config)}.safetensors"
    return shipped if shipped.is_file() else None


def recorded_hash(trained: Path) -> str | None:
    """SHA-256 of the weights that were trained in a folder, as its record says; None where it does not."""
    with suppress(ConfigError):  # no record that could be read, which others complain of
        found: str | None = (read_json(trained / RESULT).get("teacher") or {}).get("sha256")
        return found
    return None
