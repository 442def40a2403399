"""Handwritten digits that ship with scikit-learn: 1,797 real images of 8 x 8 pixels, no download.

The test set of the UCI repository's "Optical Recognition of Handwritten Digits" (Alpaydin and Kaynak 1998). There is
no published split, so one is fixed here: of every class, in the order of the file, each fifth image is a test image
(1,442 training and 355 test images).
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch

from rlkd_run.config.datasets import DatasetOptions
from rlkd_run.data.dataset import Loading
from rlkd_run.data.resident import RawImages, ResidentDataset

_LEVELS = 16  # grey values are 0..16
_TEST_EVERY = 5


def open_digits(options: DatasetOptions, loading: Loading) -> ResidentDataset:
    """The ten digits in three equal channels; ``root`` and ``download`` are not used. See `open_dataset`."""
    return ResidentDataset(options, read_digits(), loading, published=True)


def _file() -> Path:
    """The file inside scikit-learn, found without the seconds that importing the package takes."""
    package = find_spec("sklearn")
    assert package is not None  # a dependency of this package
    assert package.origin is not None
    return Path(package.origin).parent / "datasets" / "data" / "digits.csv.gz"


def read_digits() -> RawImages:
    """Grey values scaled to 0..255 and repeated over three channels, split as the module says."""
    table = np.loadtxt(_file(), delimiter=",")  # a row an image: 64 grey values and the label
    grey = torch.from_numpy(np.rint(table[:, :-1].reshape(-1, 8, 8) * (255 / _LEVELS)).astype(np.uint8))
    images = grey.unsqueeze(-1).expand(-1, -1, -1, 3)
    labels = torch.from_numpy(table[:, -1].astype(np.int64))
    is_test = torch.zeros(len(labels), dtype=torch.bool)
    for digit in range(10):
        positions = (labels == digit).nonzero().flatten()
        is_test[positions[_TEST_EVERY - 1 :: _TEST_EVERY]] = True
    names = [str(digit) for digit in range(10)]
    return RawImages(images[~is_test], labels[~is_test], images[is_test], labels[is_test], names)
