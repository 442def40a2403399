"""Images of CIFAR's shape: random, or CIFAR's own."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from rlkd_run.data.archives import CIFAR100
from rlkd_run.data.cifar import read_archive
from rlkd_run.data.resident import RawImages
from rlkd_run.errors import ConfigError

CLASSES = 100
TEST_IMAGES = 100


def raw_images(count: int, options: Any, root: str | None) -> RawImages:
    """The images of a measured training.

    Args:
        count: training images that are wanted; of CIFAR-100's there are at most 50,000.
        options: of the data set, which can be CIFAR-100 alone.
        root: folder of CIFAR-100; None: random images, because the cost of a step does not depend on what they show.

    Raises:
        ConfigError: CIFAR-100 is not there, or not whole; or another data set is asked for.
    """
    if options.name != "cifar100":
        raise ConfigError(f"dataset={options.name}: what is measured here are images of CIFAR-100's shape and classes.")
    if root is not None:
        raw = read_archive(CIFAR100, replace(options, root=root, download=False))
        train_images, train_labels = raw.train_images[:count], raw.train_labels[:count]
        return raw._replace(train_images=train_images.contiguous(), train_labels=train_labels)
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (count, 32, 32, 3), dtype=torch.uint8, generator=generator)
    labels = torch.arange(count) % CLASSES
    test = torch.randint(0, 256, (TEST_IMAGES, 32, 32, 3), dtype=torch.uint8, generator=generator)
    names = [str(label) for label in range(CLASSES)]
    return RawImages(images, labels, test, torch.arange(TEST_IMAGES) % CLASSES, names)
