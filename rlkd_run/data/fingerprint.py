"""Whether images that lie in a folder are still the same, told without reading them; never imports torch.

Where a data set is nothing but a folder, its place is all that names it. A fingerprint is what can be known of the
content at the cost of a listing: names of classes and files, and the sizes of some files. It depends neither on where
the tree lies nor on times, so that a copy has the same one. It stands in the records of runs and teachers: computed in
another way, it would make all of them look changed.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence

from rlkd_run.data.classes import ClassFolder, Split

Fingerprint = dict[str, str]
"""Of each split, ``train`` and ``test``, 16 hexadecimal digits."""

_SIZES = 4096  # files of a split that are asked for their size: a second or two on a network disk
_CALLED = {"train": "training images", "test": "test images"}


def fingerprint(train: Split, test: Split) -> Fingerprint:
    """The fingerprint of a tree.

    Raises:
        OSError: a file's size cannot be had.
    """
    return {"train": _digest(train), "test": _digest(test)}


def changed_images(
    then: Mapping[str, str] | None, now: Mapping[str, str] | None, splits: Sequence[str] = ("train", "test")
) -> str | None:
    """In words, which images have changed from one fingerprint to another.

    Args:
        then: what the record says; None: nothing, as those of earlier versions and of published data sets.
        now: of the images as they are; None: not known.
        splits: which ones matter.

    Returns:
        None if none have, or nobody can tell.
    """
    if then is None or now is None:
        return None
    return " and ".join(_CALLED[split] for split in splits if then[split] != now[split]) or None


def _digest(split: Split) -> str:
    digest = hashlib.sha256()
    share = max(1, _SIZES // max(1, len(split)))
    for name, folder in split.items():
        start = len(os.fspath(folder.path)) + 1
        names = [file[start:] for file in folder.files]
        digest.update(ascii((name, names, _some_sizes(folder, share))).encode())
    return digest.hexdigest()[:16]


def _some_sizes(folder: ClassFolder, share: int) -> list[int]:
    """Sizes in bytes of at most `share` files, evenly spread."""
    every = -(-len(folder.files) // share) or 1
    return [os.stat(file).st_size for file in folder.files[::every]]
