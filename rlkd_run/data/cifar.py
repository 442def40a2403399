"""CIFAR-10 and CIFAR-100 (Krizhevsky 2009, https://www.cs.toronto.edu/~kriz/cifar.html), python version.

Files are checked against the published MD5 sums (those of ``torchvision.datasets``) and unpickled by a reader that
knows arrays and plain values only, so that a file from elsewhere cannot run code.
"""

from __future__ import annotations

import functools
import hashlib
import io
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rlkd_run.config.datasets import DatasetOptions
from rlkd_run.data.archives import CIFAR10, CIFAR100, Archive
from rlkd_run.data.dataset import Loading
from rlkd_run.data.published import found_or_fetched
from rlkd_run.data.resident import RawImages, ResidentDataset
from rlkd_run.errors import ConfigError


def open_cifar100(options: DatasetOptions, loading: Loading) -> ResidentDataset:
    """CIFAR-100: 50,000 + 10,000 images of 32 x 32 pixels in 100 classes. See `open_dataset`."""
    return ResidentDataset(options, read_archive(CIFAR100, options), loading, published=True)


def open_cifar10(options: DatasetOptions, loading: Loading) -> ResidentDataset:
    """CIFAR-10: 50,000 + 10,000 images of 32 x 32 pixels in 10 classes. See `open_dataset`."""
    return ResidentDataset(options, read_archive(CIFAR10, options), loading, published=True)


def read_archive(archive: Archive, options: DatasetOptions) -> RawImages:
    """The images of an unpacked archive, which is fetched first if it is missing and `options.download` allows it.

    ``dataset.root`` may be the archive's folder or the folder that holds it.

    Raises:
        ConfigError: files are missing and cannot be fetched, or do not have the published sums.
    """
    folder = found_or_fetched(archive, options)
    train_images, train_labels = _read_split(archive, folder, archive.train)
    test_images, test_labels = _read_split(archive, folder, archive.test)
    ((meta, md5),) = archive.meta.items()
    names = list(_read(archive, folder / meta, md5)[archive.names_key])
    return RawImages(train_images, train_labels, test_images, test_labels, names)


def _read_split(archive: Archive, folder: Path, files: dict[str, str]) -> tuple[Tensor, Tensor]:
    parts = [_read(archive, folder / name, md5) for name, md5 in files.items()]
    pixels = torch.from_numpy(np.concatenate([part["data"] for part in parts]))
    labels = torch.tensor([label for part in parts for label in part[archive.label_key]])
    return pixels.view(-1, 3, 32, 32).permute(0, 2, 3, 1), labels


def _read(archive: Archive, file: Path, md5: str) -> dict[str, Any]:
    remedy = f"delete {file.parent} to have {archive.title} downloaded again, or copy the published file there."
    try:
        content = file.read_bytes()
    except OSError as error:
        raise ConfigError(f"{file} cannot be read ({error.strerror}): {remedy}") from error
    found = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if found != md5:
        raise ConfigError(
            f"{file} is damaged or cut short ({len(content)} bytes, MD5 sum {found}, expected {md5}): {remedy}"
        )
    try:
        values: dict[str, Any] = _ArrayUnpickler(io.BytesIO(content), encoding="latin1").load()
    except pickle.UnpicklingError as error:
        raise ConfigError(f"{file} is not a file of {archive.title} ({error}): {remedy}") from error
    return values


class _ArrayUnpickler(pickle.Unpickler):
    """Reads numpy arrays and plain values; anything else that a pickle could call is refused."""

    def find_class(self, module: str, name: str) -> Any:
        known = _array_parts().get((module.replace("numpy._core", "numpy.core"), name))
        if known is None:
            raise pickle.UnpicklingError(f"{module}.{name} does not belong in a data file")
        return known


@functools.cache
def _array_parts() -> dict[tuple[str, str], Callable[..., Any]]:
    reconstruct: Callable[..., Any] = np.zeros(0).__reduce__()[0]  # type: ignore[assignment]  # its home differs between versions of numpy
    return {
        ("numpy.core.multiarray", "_reconstruct"): reconstruct,
        ("numpy", "ndarray"): np.ndarray,
        # The files, written by an old numpy, say align=0 and copy=1, of which newer versions complain.
        ("numpy", "dtype"): lambda kind, align, copy: np.dtype(kind, align=bool(align), copy=bool(copy)),
    }
