"""Where run folders are: a folder with `result.json` or `status.json` is one."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from rlkd_run.errors import ConfigError
from rlkd_run.files import is_leftover
from rlkd_run.record import RESULT, STATUS
from rlkd_run.results.notices import Tell, tell_on_stderr


def find_runs(paths: Iterable[str | os.PathLike[str]], *, tell: Tell = tell_on_stderr) -> list[Path]:
    """Find the run folders in `paths` and below, each once, in the order of `paths` and then by name.

    Symbolic links are followed; a folder that is reached twice (by a link that leads back, by overlapping `paths`)
    counts once.

    Args:
        paths: folders to search.
        tell: receives one sentence on every folder that cannot be listed.

    Raises:
        ConfigError: one of `paths` does not exist or is no folder (all of them named).
    """
    roots = [Path(path) for path in paths]
    problems = [
        f"{root} is not a folder." if os.path.exists(root) else f"There is no folder {root}."
        for root in roots
        if not os.path.isdir(root)
    ]
    if problems:
        raise ConfigError(problems)
    seen: set[tuple[int, int]] = set()
    return [folder for root in roots for folder in _walk(root, seen, tell)]


def _walk(root: Path, seen: set[tuple[int, int]], tell: Tell) -> Iterator[Path]:
    # A stack instead of recursion: the depth of a tree of folders is the user's, not Python's.
    stack = [root]
    while stack:
        folder = stack.pop()
        try:
            stat = folder.stat()
            key = (stat.st_dev, stat.st_ino)
            if key in seen:
                continue
            seen.add(key)
            names = sorted(name for name in os.listdir(folder) if not is_leftover(name))
        except OSError as error:
            tell(f"{folder} is skipped: it cannot be listed ({error.strerror}).")
            continue
        if RESULT in names or STATUS in names:
            yield folder
        # os.path.isdir, unlike Path.is_dir, says False of a link to itself instead of raising.
        stack.extend(folder / name for name in reversed(names) if os.path.isdir(folder / name))
