"""Whether the two splits of a tree of images are where the options say, and are two; never imports torch."""

from __future__ import annotations

from pathlib import Path

from rlkd_run.config.datasets import FolderOptions


def wrong_splits(options: FolderOptions) -> list[str]:
    """What is wrong with a tree's folders, each in one sentence; what lies in them is not looked at.

    Raises:
        OSError: a folder on the way must not be looked into.
    """
    root = Path(options.root)
    if not root.is_dir():
        return [f"dataset.root={options.root} is not a folder: give the one that holds {options.train_dir}/."]
    named = (("dataset.train_dir", options.train_dir), ("dataset.test_dir", options.test_dir))
    problems = [
        f"{option}={name}: {root / name} is not a folder; it should hold one folder of images a class."
        for option, name in named
        if not (root / name).is_dir()
    ]
    if not problems and (root / options.train_dir).samefile(root / options.test_dir):
        problems.append(
            f"dataset.test_dir={options.test_dir} is the folder of dataset.train_dir={options.train_dir}: a test takes "
            "other images than the training."
        )
    return problems
