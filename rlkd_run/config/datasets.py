"""Options of the data sets (`conf/dataset/`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

from rlkd_run.config.option import option


@dataclass
class DatasetOptions:
    """A data set whose images all have one small size; it lives on the device as uint8."""

    name: str = option("which data set: a registered name")
    root: str = option("folder that holds the files, or that they are downloaded to", identity=False, path=True)
    download: bool = option("fetch missing files where the data set is published", identity=False)
    train_limit: Optional[int] = option("use only the first n training images, class-balanced; null: all", ge=1)
    test_limit: Optional[int] = option("use only the first n test images, class-balanced; null: all", ge=1)
    val_split: float = option("share of the training images held out for validation, class-balanced", ge=0, lt=1)
    pad: int = option("zero padding in pixels before the random crop; 0: no crop", ge=0, le=1024)
    flip: bool = option("random horizontal flip")
    mean: list[float] = option("mean of each channel, of pixels in [0, 1]")
    std: list[float] = option("standard deviation of each channel, of pixels in [0, 1]", gt=0)


@dataclass
class FolderOptions:
    """A train/val tree with one folder of images a class, images of any size."""

    name: str = option("which data set: a registered name")
    root: str = option("folder with the two splits", path=True)
    train_dir: str = option("folder of the training images below root")
    test_dir: str = option("folder of the test images below root")
    train_limit: Optional[int] = option("use only the first n training images, class-balanced; null: all", ge=1)
    test_limit: Optional[int] = option("use only the first n test images, class-balanced; null: all", ge=1)
    val_split: float = option("share of the training images held out for validation, class-balanced", ge=0, lt=1)
    image_size: int = option("side of the images that the networks see, in pixels", ge=1, le=10_000)
    resize: int = option("test images: shorter side before the centre crop, in pixels", ge=1, le=10_000)
    min_scale: float = option("random resized crop: smallest share of the image's area", gt=0, le=1)
    flip: bool = option("random horizontal flip")
    mean: list[float] = option("mean of each channel, of pixels in [0, 1]")
    std: list[float] = option("standard deviation of each channel, of pixels in [0, 1]", gt=0)
    decode: str = option("where JPEG files are decoded", choices=("cpu", "gpu"), neutral="cpu")


@dataclass
class ImageNetOptions(FolderOptions):
    """All of ImageNet, which is the same wherever it lies."""

    root: str = option("folder with the two splits", identity=False, path=True)
