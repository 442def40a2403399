"""The class folders of one split of a tree of images, and the image files in them; never imports torch."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

EXTENSIONS = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".ppm", ".pgm", ".tif", ".tiff")


class ClassFolder(NamedTuple):
    """A folder and the image files below it, sorted as paths are: part by part.

    The files are texts, as there may be a million of them, and paths take six times as long.
    """

    path: Path
    files: list[str]


Split = dict[str, ClassFolder]
"""Class folders by name, sorted."""


def class_folders(split: Path) -> Split:
    """The classes of a split.

    A class is a folder below the split's folder; its images lie in it at any depth. Names that start with a dot and
    files that are no images by their extension are passed over.

    Raises:
        OSError: a folder that is not there, or must not be read.
    """
    names = sorted(entry.name for entry in os.scandir(split) if entry.is_dir() and not entry.name.startswith("."))
    return {name: ClassFolder(split / name, _images(os.fspath(split / name))) for name in names}


def _waits(entry: os.DirEntry[str]) -> bool:
    """Whether it is a pipe, say, which who opens it waits at. Of a link that leads nowhere its reader will complain."""
    return not entry.is_file() and os.path.exists(entry.path)


def _images(folder: str) -> list[str]:
    found = []
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            found += _images(entry.path)
        elif entry.name.lower().endswith(EXTENSIONS) and not _waits(entry):
            found.append(entry.path)
    return found
