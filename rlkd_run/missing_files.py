"""Input files that are not there, found before the first job of a sweep; never imports torch."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress

from rlkd_run.config.datasets import FolderOptions
from rlkd_run.config.runconfig import RunConfig
from rlkd_run.data.archives import ARCHIVES
from rlkd_run.data.splits import wrong_splits
from rlkd_run.files import missing
from rlkd_run.teacher_weights import find_weights


def missing_files(runs: Iterable[RunConfig], *, elsewhere: bool) -> list[str]:
    """The sentences with which the jobs of a sweep would end, each once.

    No file is opened and nothing is fetched: what is wrong with a file that is there, its job says.

    Args:
        runs: the jobs.
        elsewhere: whether they run on other machines, which may have images that are not here. Weights are read here,
            since a run is named after their content.
    """
    problems: list[str] = []
    for run in runs:
        problems += _weights(run)
        with suppress(OSError):  # a folder that must not be looked into, which the job says better
            problems += [] if elsewhere else _images(run)
    return list(dict.fromkeys(problems))


def _weights(run: RunConfig) -> list[str]:
    """Of the file that teaches, or of the one that a nasty teacher has yet to be trained against."""
    teacher, problem = run.teacher, None
    if teacher.checkpoint is not None:
        problem = missing(teacher.checkpoint, "teacher.checkpoint")
    elif teacher.objective == "nasty" and teacher.nasty is not None and find_weights(run) is None:
        adversary = teacher.nasty.adversary
        problem = None if adversary is None else missing(adversary, "teacher.nasty.adversary")
    return [] if problem is None else [problem]


def _images(run: RunConfig) -> list[str]:
    options = run.dataset
    if isinstance(options, FolderOptions):
        return wrong_splits(options)
    archive = ARCHIVES.get(options.name)
    if archive is None or options.download or archive.find(options.root) is not None:
        return []
    return [archive.not_there(options.root)]
