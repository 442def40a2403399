"""What the rest of the program knows of a data set: how to open it and how to walk through its batches.

Two implementations: `rlkd_run.data.resident` keeps small images of one size on the device, `rlkd_run.data.folder`
decodes image files in worker processes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor

import rlkd_run.config.builtin  # noqa: F401 - registers the names
from rlkd_run.config.datasets import DatasetOptions, FolderOptions
from rlkd_run.config.registry import DATASETS
from rlkd_run.data.fingerprint import Fingerprint
from rlkd_run.protocol import Batch, MixPlan


@dataclass(frozen=True)
class Loading:
    """How a data set is to be loaded; what every opener gets beside the options.

    Attributes:
        device: where the batches are wanted.
        num_workers: processes that decode image files; None: chosen by the number of cores; 0: none. Data that
            live on the device need none.
        channels_last: memory layout NHWC instead of NCHW; the shape is [B, 3, H, W] in both.
        probe_images: training images to set aside for `Dataset.probe_batch`, spread over the classes.
    """

    device: torch.device
    num_workers: int | None = None
    channels_last: bool = True
    probe_images: int = 0


class TrainLoader(Protocol):
    """Shuffled, augmented batches of the training set; the last, short batch of an epoch is kept.

    Attributes:
        steps_per_epoch: batches an epoch.
        num_images: images an epoch; each comes exactly once.
        batch_size: images a batch, but for the last.
        num_views: crops and flips in which an image can come; None where they are not finitely many.
    """

    steps_per_epoch: int
    num_images: int
    batch_size: int
    num_views: int | None

    def epoch(self, epoch: int, mix: MixPlan | None = None, start_step: int = 0) -> Iterator[Batch]:
        """The batches of one epoch.

        Order, crops and flips of an epoch depend on the seed and its number alone: not on the device, the batch
        size, the number of workers, earlier epochs, or where the epoch was entered.

        Args:
            epoch: from 1.
            mix: which images are replaced by mixtures, for N training images; None: none.
            start_step: first batch that is wanted, from 0; an interrupted epoch goes on here.

        Raises:
            ConfigError: an image file cannot be read (image files only).
            ValueError: `start_step` lies beyond the epoch, or `mix` is for another number of images.
        """
        ...

    def images_of(self, keys: Tensor) -> Tensor:
        """The images of views, normalised, [K, 3, H, W], for keys [K] int64 on the CPU as in `Views.host`.

        Only where `num_views` is a number.
        """
        ...


class Draw(NamedTuple):
    """What chance decided about a batch, on the device but for `key_host`; [B] int64 each.

    Attributes:
        image: position in the training set.
        corner: first pixel of the crop within the padded image.
        flip: 1 where it is mirrored.
        key: which view that is, see `Views`.
        key_host: the same on the CPU.
    """

    image: Tensor
    corner: Tensor
    flip: Tensor
    key: Tensor
    key_host: Tensor


@runtime_checkable
class DrawnLoader(Protocol):
    """A `TrainLoader` whose batches are made on the device from nothing but what was drawn for them."""

    def draws(self, epoch: int, start_step: int = 0) -> Iterator[Draw]:
        """What `TrainLoader.epoch` makes its batches from."""
        ...

    def batch_of(self, draw: Draw, mix: MixPlan | None) -> Batch:
        """The batch; the plan lies on the device."""
        ...


class EvalLoader(Protocol):
    """Batches in the order of the files, without augmentation; the last, short batch is kept.

    `Batch.index` is the position in the walked split.
    """

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[Batch]: ...


class Dataset(Protocol):
    """An opened data set.

    Attributes:
        name: its registered name.
        num_classes: number of classes, C.
        class_names: C names, in the order of the labels.
        image_shape: (3, H, W) of the images in a batch.
        mean, std: of each channel, of pixels in [0, 1]; the images in a batch are normalised with these.
        num_train: training images of the run: after the limit, without those held out. `Batch.index` counts them.
        num_test: test images, after the limit.
        num_val: images held out for validation; 0 if none are.
    """

    name: str
    num_classes: int
    class_names: list[str]
    image_shape: tuple[int, int, int]
    mean: list[float]
    std: list[float]
    num_train: int
    num_test: int
    num_val: int

    def train_batches(self, batch_size: int, seed: int) -> TrainLoader:
        """The training set in batches; `seed` decides order, crops and flips."""
        ...

    def test_batches(self, batch_size: int) -> EvalLoader:
        """The test set in batches."""
        ...

    def val_batches(self, batch_size: int) -> EvalLoader | None:
        """The images held out for validation in batches; None if there are none."""
        ...

    def probe_batch(self) -> Batch | None:
        """The probe images as one batch, not augmented; None if none were set aside."""
        ...


@runtime_checkable
class Fingerprinted(Protocol):
    """A `Dataset` of images that may be others the next time; None: these are published, and cannot."""

    fingerprint: Fingerprint | None


def fingerprint_of(dataset: Dataset) -> Fingerprint | None:
    """What tells whether its files are still the same; None where they are checked against published sums."""
    return dataset.fingerprint if isinstance(dataset, Fingerprinted) else None


def images_record(dataset: Dataset) -> dict[str, Any]:
    """What the record of a trained network says of its images: all that it takes to use the network elsewhere."""
    return {
        "shape": list(dataset.image_shape),
        "mean": list(dataset.mean),
        "std": list(dataset.std),
        "classes": list(dataset.class_names),
        "fingerprint": fingerprint_of(dataset),
    }


def open_dataset(options: DatasetOptions | FolderOptions, loading: Loading) -> Dataset:
    """Open the data set that `options.name` names, whoever registered it (`rlkd_run.config.registry.DATASETS`).

    Args:
        options: options of the data set; the dataclass it was registered with.
        loading: how.

    Raises:
        ConfigError: an unknown name; files missing, damaged or without a network to fetch them; limits beyond what
            the files hold.
    """
    opener = DATASETS[options.name].load()
    dataset: Dataset = opener(options, loading)
    return dataset
