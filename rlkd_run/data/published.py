"""The folder with a published archive's files, fetched where they are missing; never imports torch."""

from __future__ import annotations

from pathlib import Path

from rlkd_run.config.datasets import DatasetOptions
from rlkd_run.data.archives import Archive
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
