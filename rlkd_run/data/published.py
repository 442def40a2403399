"""Folders with published archives' files, fetched where they are missing; never imports torch."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from rlkd_run.config.datasets import DatasetOptions
from rlkd_run.data.archives import ARCHIVES, Archive
from rlkd_run.data.download import DownloadError, download_folder
from rlkd_run.errors import ConfigError


def found_or_fetched(archive: Archive, options: DatasetOptions) -> Path:
    """The folder with the files in or below `options.root`, which are fetched if `options.download` allows it.

    Raises:
        ConfigError: they are missing and cannot be fetched.
    """
    found = archive.find(options.root)
    if found is not None:
        return found
    if not options.download:
        raise ConfigError(archive.not_there(options.root))
    folder = Path(options.root) / archive.folder
    try:
        download_folder(archive.url, archive.md5, folder)
    except DownloadError as error:
        raise ConfigError(archive.not_there(options.root, f"could not be downloaded ({error})")) from error
    return folder


def fetch_missing(datasets: Iterable[Any]) -> None:
    """Fetch what the data sets of a sweep's jobs lack, once and not in every job.

    Args:
        datasets: options of any data sets; those that are not published stay as they are.

    Raises:
        ConfigError: something cannot be fetched; each reason once.
    """
    published = {(options.name, options.root): options for options in datasets if options.name in ARCHIVES}
    problems: list[str] = []
    for options in published.values():
        try:
            found_or_fetched(ARCHIVES[options.name], options)
        except ConfigError as error:
            problems += error.problems
    if problems:
        raise ConfigError(problems)
