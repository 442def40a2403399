"""What is published: digits, and CIFAR-100 and Imagenette where they lie."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from sklearn.datasets import load_digits
from torch import Tensor

from rlkd_run.config.datasets import DatasetOptions
from rlkd_run.config.shipped import config_folder
from rlkd_run.data.archives import CIFAR100
from rlkd_run.data.cifar import read_archive
from rlkd_run.data.dataset import Dataset, Loading, open_dataset
from rlkd_run.data.digits import read_digits
from rlkd_run.data.resident import RawImages
from rlkd_run.errors import ConfigError

Opener = Callable[..., Dataset]


def mean_and_std(images: Tensor) -> tuple[list[float], list[float]]:
    counts = torch.stack([torch.bincount(images[..., channel].flatten(), minlength=256) for channel in range(3)])
    levels = torch.arange(256, dtype=torch.float64) / 255
    shares = counts / counts.sum(1, keepdim=True)
    mean = shares.double() @ levels
    std = (shares.double() @ levels.square() - mean.square()).sqrt()
    return mean.tolist(), std.tolist()


def test_digits(open_data: Opener) -> None:
    dataset = open_data("digits")
    assert (dataset.num_train, dataset.num_test, dataset.num_val) == (1442, 355, 0)
    assert (dataset.num_classes, dataset.image_shape) == (10, (3, 8, 8))
    assert dataset.class_names == [str(digit) for digit in range(10)]
    mean, std = mean_and_std(read_digits().train_images)
    assert dataset.mean == pytest.approx(mean, abs=6e-5)
    assert dataset.std == pytest.approx(std, abs=6e-5)
    images = torch.cat([batch.images for batch in dataset.test_batches(100)])
    assert torch.equal(images[:, 0], images[:, 1])
    assert torch.equal(images[:, 0], images[:, 2])


def test_digits_are_split_for_good() -> None:
    raw = read_digits()
    assert (int(raw.train_images.min()), int(raw.train_images.max())) == (0, 255)
    test, train = torch.bincount(raw.test_labels), torch.bincount(raw.train_labels)
    assert torch.equal(test, (train + test) // 5)
    published = load_digits()
    zeros = published.images[published.target == 0]
    held = zeros[4::5]  # each fifth
    assert torch.equal(raw.test_images[raw.test_labels == 0][..., 0], torch.from_numpy(np.rint(held * 255 / 16)).byte())


def test_digits_beyond_what_there_is(open_data: Opener) -> None:
    with pytest.raises(ConfigError, match=r"dataset\.train_limit=1443 is more than the 1442 images"):
        open_data("digits", train_limit=1443)


def test_a_name_that_nobody_registered() -> None:
    values = yaml.safe_load((config_folder() / "dataset/digits.yaml").read_text())
    options = DatasetOptions(**{**values, "name": "digitz"})
    with pytest.raises(ConfigError, match=r"dataset\.name=digitz is not registered; did you mean digits"):
        open_dataset(options, Loading(torch.device("cpu")))


@pytest.fixture(scope="module")
def cifar100(real_data: Path) -> RawImages:
    options = DatasetOptions(name="cifar100", root=str(real_data), download=False)
    return read_archive(CIFAR100, options)


def test_cifar100_is_whole(cifar100: RawImages) -> None:
    assert tuple(cifar100.train_images.shape) == (50000, 32, 32, 3)
    assert tuple(cifar100.test_images.shape) == (10000, 32, 32, 3)
    assert torch.bincount(cifar100.train_labels).tolist() == [500] * 100
    assert torch.bincount(cifar100.test_labels).tolist() == [100] * 100
    assert len(set(cifar100.class_names)) == 100
    assert cifar100.class_names == sorted(cifar100.class_names)
    # The first training image is the well-known cow ("cattle").
    assert cifar100.class_names[int(cifar100.train_labels[0])] == "cattle"


def test_cifar100_is_normalised_with_its_mean_and_deviation(cifar100: RawImages) -> None:
    options = yaml.safe_load((config_folder() / "dataset/cifar100.yaml").read_text())
    mean, std = mean_and_std(cifar100.train_images)
    # The yaml has the numbers of the literature's code, which are not rounded quite right.
    assert options["mean"] == pytest.approx(mean, abs=3e-4)
    assert options["std"] == pytest.approx(std, abs=3e-4)


def test_cifar100_opens(real_data: Path, open_data: Opener) -> None:
    dataset = open_data("cifar100", root=str(real_data), download=False, val_split=0.1, probe_images=100)
    assert (dataset.num_train, dataset.num_val, dataset.num_test) == (44900, 5000, 10000)
    batch = next(dataset.train_batches(64, seed=0).epoch(1))
    assert tuple(batch.images.shape) == (64, 3, 32, 32)
    probe = dataset.probe_batch()
    assert probe is not None
    assert torch.equal(probe.target.sort().values, torch.arange(100))
    whole = torch.cat([part.images for part in dataset.test_batches(1000)])
    assert abs(float(whole.mean())) < 0.02
    assert abs(float(whole.std()) - 1) < 0.02


def test_imagenette_opens(real_data: Path, open_data: Opener) -> None:
    if not (real_data / "imagenette").is_dir():
        pytest.skip("RLKD_DATA holds no Imagenette")
    dataset = open_data(
        "folder", root=str(real_data / "imagenette"), image_size=64, resize=72, train_limit=40, test_limit=20
    )
    assert (dataset.num_classes, dataset.num_train, dataset.num_test) == (10, 40, 20)
    batch, test = next(dataset.train_batches(16, seed=0).epoch(1)), next(iter(dataset.test_batches(20)))
    assert tuple(batch.images.shape) == (16, 3, 64, 64)
    assert torch.bincount(test.target).tolist() == [2] * 10
    assert abs(float(test.images.mean())) < 0.5
