"""Data sets of a few images, opened with the values of the yaml files and a test's own changes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from rlkd_run.config.registry import DATASETS
from rlkd_run.config.shipped import config_folder
from rlkd_run.data.dataset import Dataset, Loading, open_dataset
from rlkd_run.data.resident import RawImages, ResidentDataset
from rlkd_run.protocol import Batch

CPU = torch.device("cpu")


def assert_same(some: list[Batch], others: list[Batch]) -> None:
    assert len(some) == len(others)
    for one, other in zip(some, others, strict=True):
        assert torch.equal(one.index, other.index)
        assert torch.equal(one.target, other.target)
        assert torch.equal(one.images, other.images)


def options_of(name: str, **changes: Any) -> Any:
    values = yaml.safe_load((config_folder() / "dataset" / f"{name}.yaml").read_text())
    return DATASETS[name].options(**{**values, **changes})


@pytest.fixture
def open_data() -> Callable[..., Dataset]:
    """Open a registered data set."""

    def open_(
        name: str, *, num_workers: int = 0, channels_last: bool = True, probe_images: int = 0, **changes: Any
    ) -> Dataset:
        return open_dataset(options_of(name, **changes), Loading(CPU, num_workers, channels_last, probe_images))

    return open_


@pytest.fixture
def raw() -> RawImages:
    """41 + 10 images of noise, 6 x 5 pixels, 4 classes; values are multiples of 4, so that quarters are whole."""
    generator = torch.Generator().manual_seed(1)

    def noise(count: int) -> torch.Tensor:
        return torch.randint(0, 64, (count, 6, 5, 3), generator=generator).mul(4).to(torch.uint8)

    return RawImages(noise(41), torch.arange(41) % 4, noise(10), torch.arange(10) % 4, list("abcd"))


@pytest.fixture
def resident(raw: RawImages) -> Callable[..., ResidentDataset]:
    """A resident data set over `raw` whose batches hold the pixels themselves, unless told otherwise."""

    def make(
        images: RawImages = raw,
        *,
        device: torch.device = CPU,
        channels_last: bool = True,
        probe_images: int = 0,
        **changes: Any,
    ) -> ResidentDataset:
        plain = {"mean": [0.0] * 3, "std": [1 / 255] * 3, "pad": 2}
        loading = Loading(device, channels_last=channels_last, probe_images=probe_images)
        return ResidentDataset(options_of("cifar100", root="unused", **{**plain, **changes}), images, loading)

    return make


@pytest.fixture
def image_tree() -> Callable[..., Path]:
    """Write a train/val tree of images of noise, each of its own size; returns its root."""

    def make(classes: int = 3, images: int = 4, side: int = 20, *, equal: bool = False) -> Path:
        generator = np.random.default_rng(0)
        for split in ("train", "val"):
            for label in range(classes):
                folder = Path("images", split, f"class{label}")
                folder.mkdir(parents=True)
                for number in range(images):
                    shape = (side, side, 3) if equal else (side + number, side + 2 * label, 3)
                    pixels = generator.integers(0, 256, shape, dtype=np.uint8)
                    Image.fromarray(pixels).save(folder / f"{number}.png")
        return Path("images")

    return make


@pytest.fixture
def open_tree(open_data: Callable[..., Dataset]) -> Callable[..., Dataset]:
    """Open the tree that `image_tree` wrote."""

    def open_(root: Path, **changes: Any) -> Dataset:
        return open_data("folder", **{"root": str(root), "image_size": 16, "resize": 18, **changes})

    return open_
