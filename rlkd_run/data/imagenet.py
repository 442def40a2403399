"""ImageNet (ILSVRC 2012) as a tree of class folders: the whole of it, so that its numbers can be compared."""

from __future__ import annotations

from typing import NamedTuple

from rlkd_run.config.datasets import ImageNetOptions
from rlkd_run.data.dataset import Loading
from rlkd_run.data.folder import FolderDataset
from rlkd_run.data.tree import read_tree
from rlkd_run.errors import ConfigError


class Size(NamedTuple):
    """How many classes and images a tree holds."""

    classes: int
    train: int
    test: int


WHOLE = Size(1000, 1_281_167, 50_000)


def open_imagenet(options: ImageNetOptions, loading: Loading) -> FolderDataset:
    """The 1,000 classes of ILSVRC 2012. See `open_dataset`.

    Raises:
        ConfigError: as `FolderDataset`; the tree is not the whole of ImageNet.
    """
    tree = read_tree(options)
    found = Size(len(tree.class_names), len(tree.train.files), len(tree.test.files))
    if found != WHOLE:
        raise ConfigError(
            f"dataset.root={options.root} holds {_words(found)}, and ImageNet has {_words(WHOLE)}: complete it, or use "
            "dataset=folder for another data set."
        )
    return FolderDataset(options, loading, tree)


def _words(size: Size) -> str:
    return f"{size.classes:,} classes with {size.train:,} training and {size.test:,} test images"
