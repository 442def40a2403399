"""Where the yaml files are that ship with the project, and which of somebody else's they hide."""

from __future__ import annotations

import os
from pathlib import Path


def config_folder() -> Path:
    """The yaml files: inside the installed package, or beside it in a checkout."""
    inside = Path(__file__).resolve().parent.parent / "conf"
    return inside if inside.is_dir() else inside.parent.parent / "conf"


def hidden(folder: Path) -> list[Path]:
    """The yaml files of a folder in whose place Hydra reads one that ships, and that say something else."""
    shipped = config_folder()
    both = ((file, folder / file.relative_to(shipped)) for file in sorted(shipped.rglob("*.yaml")))
    return [theirs for file, theirs in both if os.path.isfile(theirs) and not _says_the_same(theirs, file)]


def _says_the_same(theirs: Path, shipped: Path) -> bool:
    try:
        return theirs.read_bytes() == shipped.read_bytes()
    except OSError:  # it must not be read: nobody would notice, because nobody does
        return False
