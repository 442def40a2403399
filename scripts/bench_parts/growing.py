"""One training on data sets of several sizes, in one process, and what the process holds after each epoch."""

from __future__ import annotations

from typing import Any

from bench_parts import memory
from bench_parts.measured import Project


class Growing:
    """Trainings that are the same but for the number of images.

    Args:
        overrides: as typed to `rlkd-run`.
    """

    def __init__(self, overrides: list[str]) -> None:
        self._overrides = overrides
        self._projects: dict[int, Project] = {}

    def open(self, images: int) -> dict[str, Any]:
        """Put a training on so many images together, in place of an earlier one; the device in words."""
        self._projects[images] = Project(self._overrides, images, None)
        return self._projects[images].facts()

    def run(self, images: int, steps: int, epoch: int) -> dict[str, Any]:
        """Time the last steps of an epoch; with what the process holds afterwards, in MiB."""
        project = self._projects[images]
        times = project.run(steps, epoch)
        return {**times, "resident_mib": memory.resident(), "gpu_mib": memory.allocated(project.device)}
