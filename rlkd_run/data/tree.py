"""Find the images of a train/val tree and complain about a tree that cannot be trained on, without decoding any."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from rlkd_run.config.datasets import FolderOptions
from rlkd_run.data.classes import EXTENSIONS, Split, class_folders
from rlkd_run.data.fingerprint import Fingerprint, fingerprint
from rlkd_run.data.splits import wrong_splits
from rlkd_run.errors import ConfigError
from rlkd_run.words import listed

_SHOWN = 3


class LabelledFiles(NamedTuple):
    """One split.

    Attributes:
        files: N image files, sorted by class, then by path.
        labels: their classes, [N] int64.
    """

    files: list[Path]
    labels: Tensor


class Tree(NamedTuple):
    """Both splits; `class_names` are the folders' names, sorted."""

    train: LabelledFiles
    test: LabelledFiles
    class_names: list[str]
    fingerprint: Fingerprint


def read_tree(options: FolderOptions) -> Tree:
    """List the images of both splits, as `class_folders` finds them.

    Raises:
        ConfigError: a split without classes, a class without images, a single class, or splits that are one or have
            different classes, all at once; a folder or file that must not be read.
    """
    try:
        return _read_tree(options)
    except OSError as error:
        problem = f"dataset.root={options.root}: {error.filename} cannot be read ({error.strerror})."
        raise ConfigError(problem) from error


def _read_tree(options: FolderOptions) -> Tree:
    root = Path(options.root)
    problems = wrong_splits(options)
    train = _classes(root, options.train_dir, "dataset.train_dir", problems)
    test = _classes(root, options.test_dir, "dataset.test_dir", problems)
    if train and test and train.keys() != test.keys():
        differences = [
            f"only in {name}: {listed(sorted(mine.keys() - other.keys()), _SHOWN)}"
            for name, mine, other in ((options.train_dir, train, test), (options.test_dir, test, train))
            if mine.keys() - other.keys()
        ]
        problems.append(f"{root}: the two splits must have the same classes; {'; '.join(differences)}.")
    elif len(train) == 1:
        problems.append(f"{root} has a single class ({', '.join(train)}): it takes two to tell images apart.")
    for split in (train, test):
        empty = [folder for folder in split.values() if not folder.files]
        if empty:
            count = f"{len(empty)} class folders hold" if len(empty) > 1 else "a class folder holds"
            problems.append(
                f"{count} no image ({', '.join(EXTENSIONS)}): {listed([str(folder.path) for folder in empty], _SHOWN)}."
            )
    if problems:
        raise ConfigError(problems)
    return Tree(_labelled(train), _labelled(test), list(train), fingerprint(train, test))


def _classes(root: Path, name: str, option: str, problems: list[str]) -> Split:
    split = root / name
    if not split.is_dir():  # which `wrong_splits` has complained of
        return {}
    found = class_folders(split)
    if not found:
        problems.append(f"{option}={name}: {split} holds no folder; it should hold one folder of images a class.")
    return found


def _labelled(classes: Split) -> LabelledFiles:
    files = [Path(file) for folder in classes.values() for file in folder.files]
    counts = torch.tensor([len(folder.files) for folder in classes.values()])
    return LabelledFiles(files, torch.repeat_interleave(torch.arange(len(counts)), counts))
