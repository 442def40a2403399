"""What was trained on images that have changed since, and what to do about it; never imports torch.

A folder of images is named by its place alone, a data set of one's own by its name (`config.identity`), so that a run
or a teacher may be found again that learned from other images. Fingerprints tell; records of earlier versions have none
and pass.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from rlkd_run.config.datasets import FolderOptions
from rlkd_run.data.classes import class_folders
from rlkd_run.data.fingerprint import Fingerprint, changed_images, fingerprint
from rlkd_run.errors import ConfigError
from rlkd_run.record import RESULT, RunFolder, read_json


def changed_since(runs: Mapping[Path, Any]) -> dict[Path, str]:
    """Finished runs or teachers whose images have changed since, with which of them have, in words.

    Args:
        runs: their folders, with the options of their data set; what cannot be told is passed over.
    """
    now = functools.cache(_listed)  # a sweep has one data set and many runs
    changed = {}
    for folder, options in runs.items():
        then = _recorded(folder)
        if then is not None and isinstance(options, FolderOptions):
            root = Path(options.root)
            words = changed_images(then, now(root / options.train_dir, root / options.test_dir))
            if words is not None:
                changed[folder] = words
    return changed


def check_resumable(folder: RunFolder, now: Fingerprint | None, options: Any) -> None:
    """Refuse to go on with other images than a run was begun with.

    Args:
        folder: of the run.
        now: the images as they are.
        options: of their data set.

    Raises:
        ConfigError: they have changed.
    """
    words = changed_images(folder.noted("images"), now)
    if words is not None and folder.has_checkpoints():
        raise ConfigError(
            f"{folder.path} was begun on other {words} than those {_where(options)} now: bring those back to go "
            "on, or remove the folder to start anew."
        )


def check_taught_by(folder: Path, now: Fingerprint | None, options: Any, remedy: str) -> None:
    """Refuse a teacher that was trained on other images.

    Args:
        folder: where it was trained; one without a record passes.
        now: the images as they are.
        options: of their data set.
        remedy: what can be done.

    Raises:
        ConfigError: the training images have changed. The test images teach nobody.
    """
    if changed_images(_recorded(folder), now, ["train"]) is not None:
        raise ConfigError(f"{folder} was trained on other images than those {_where(options)} now: {remedy}.")


def place_of(options: Any) -> str:
    """Where a data set's images lie, as far as its options say."""
    return str(getattr(options, "root", options.name))


def _where(options: Any) -> str:
    """Of a data set of one's own the name says what is meant: its root may be where no image lies."""
    return f"in {place_of(options)}" if isinstance(options, FolderOptions) else f"of dataset={options.name}"


def _recorded(folder: Path) -> Fingerprint | None:
    with suppress(ConfigError):  # no record, or none that could be read, which others complain of
        found: Fingerprint | None = (read_json(folder / RESULT).get("images") or {}).get("fingerprint")
        return found
    return None


def _listed(train: Path, test: Path) -> Fingerprint | None:
    """Of what lies there, also where nobody could train on it; None: nothing, or it must not be read."""
    try:
        return fingerprint(class_folders(train), class_folders(test))
    except OSError:
        return None
