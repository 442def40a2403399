"""Mixtures of two training images, in both kinds of data sets."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from rlkd_run.data.dataset import Dataset
from rlkd_run.data.mixing import mixed_labels
from rlkd_run.data.resident import RawImages, ResidentDataset
from rlkd_run.protocol import MixPlan


def plan(count: int, labels: str) -> MixPlan:
    """Image i is mixed with 3 i + 1 by 0, 1/4, 1/2, 3/4 in turn."""
    partner = (3 * torch.arange(count) + 1) % count
    weight = (torch.arange(count) % 4) / 4
    return MixPlan(torch.where(weight > 0, partner, torch.arange(count)), weight, labels)


def test_labels_by_hand() -> None:
    targets = torch.tensor([10, 11, 12, 13, 14])
    mix = MixPlan(torch.tensor([0, 2, 3, 0, 1]), torch.tensor([0.0, 0.3, 0.7, 0.5, 1.0]))
    order = torch.tensor([2, 0, 3, 1, 4])
    target, index, labels = mixed_labels(mix, order, targets)
    # 2 is mostly 3; 0 is itself; 3 and 0 share equally, so 3 stays; 1 is mostly itself; nothing is left of 4.
    assert index.tolist() == [3, 0, 3, 1, 1]
    assert target.tolist() == [13, 10, 13, 11, 11]
    assert labels is not None
    assert labels.target.tolist() == [12, 10, 10, 12, 14]
    assert labels.mixed.tolist() == [True, False, True, True, True]
    torch.testing.assert_close(labels.weight, torch.tensor([0.7, 1.0, 0.5, 0.7, 1.0]))
    target, index, labels = mixed_labels(mix._replace(labels="low"), order, targets)
    assert (index.tolist(), target.tolist(), labels) == (order.tolist(), [12, 10, 13, 11, 14], None)


@pytest.mark.parametrize("labels", ["mixed", "low"])
def test_resident_mixtures(resident: Callable[..., ResidentDataset], raw: RawImages, labels: str) -> None:
    mix = plan(41, labels)
    # Mixtures of raw pixels that are whole numbers, as a data set of its own: augmented alike, they must be equal.
    share = mix.weight.view(-1, 1, 1, 1)
    mixtures = share * raw.train_images[mix.partner].float() + (1 - share) * raw.train_images.float()
    assert torch.equal(mixtures, mixtures.round())
    premixed = resident(raw._replace(train_images=mixtures.to(torch.uint8))).train_batches(8, seed=0)
    loader = resident().train_batches(8, seed=0)
    for batch, expected in zip(loader.epoch(1, mix), premixed.epoch(1), strict=True):
        torch.testing.assert_close(batch.images, expected.images, rtol=0, atol=1e-4)
        own = expected.index
        if labels == "low":
            assert batch.mix is None
            assert torch.equal(batch.index, own)
            assert torch.equal(batch.target, raw.train_labels[own])
            continue
        assert batch.mix is not None
        for row, image in enumerate(own.tolist()):
            partner, weight = int(mix.partner[image]), float(mix.weight[image])
            larger, smaller = (partner, image) if weight > 0.5 else (image, partner)
            assert batch.index[row] == larger
            assert batch.target[row] == raw.train_labels[larger]
            assert batch.mix.target[row] == raw.train_labels[smaller]
            assert batch.mix.weight[row] == max(weight, 1 - weight)


def test_images_that_are_not_mixed_stay_what_they_are(resident: Callable[..., ResidentDataset]) -> None:
    mix = MixPlan(torch.arange(41), torch.zeros(41))
    loader = resident().train_batches(8, seed=0)
    for batch, plain in zip(loader.epoch(1, mix), loader.epoch(1), strict=True):
        assert torch.equal(batch.images, plain.images)
        assert torch.equal(batch.index, plain.index)
        assert batch.mix is not None
        assert torch.equal(batch.mix.weight, torch.ones(len(plain.index)))
        assert not batch.mix.mixed.any()


PLAIN = {"mean": [0.0] * 3, "std": [1 / 255] * 3, "flip": False, "min_scale": 1.0}


@pytest.mark.parametrize("labels", ["mixed", "low"])
def test_mixtures_of_files(image_tree: Callable[..., Path], open_tree: Callable[..., Dataset], labels: str) -> None:
    dataset = open_tree(image_tree(side=16, equal=True), **PLAIN)
    mix = plan(12, labels)
    files = sorted(Path("images/train").glob("*/*.png"))
    pixels = torch.stack([torch.from_numpy(np.array(Image.open(file))).permute(2, 0, 1).float() for file in files])
    orders = [batch.index for batch in dataset.train_batches(5, seed=0).epoch(1)]
    for batch, own in zip(dataset.train_batches(5, seed=0).epoch(1, mix), orders, strict=True):
        share = mix.weight[own].view(-1, 1, 1, 1)
        expected = share * pixels[mix.partner[own]] + (1 - share) * pixels[own]
        torch.testing.assert_close(batch.images, expected, rtol=0, atol=1.0)  # rounded to whole pixel values
        target, index, other = mixed_labels(mix, own, torch.arange(12) // 4)
        assert torch.equal(batch.target, target)
        assert torch.equal(batch.index, index)
        assert (batch.mix is None) == (labels == "low")
        if batch.mix is not None and other is not None:
            assert torch.equal(batch.mix.target, other.target)
            assert torch.equal(batch.mix.weight, other.weight)


def test_a_partner_of_another_size_is_scaled(open_tree: Callable[..., Dataset]) -> None:
    for split in ("train", "val"):
        for label, (size, value) in enumerate((((40, 20), 100), ((17, 33), 200))):
            folder = Path("images", split, f"class{label}")
            folder.mkdir(parents=True)
            Image.new("RGB", size, (value,) * 3).save(folder / "0.png")
    mix = MixPlan(torch.tensor([1, 0]), torch.tensor([0.25, 0.75]))
    (batch,) = open_tree(Path("images"), **PLAIN).train_batches(2, seed=0).epoch(1, mix)
    # 1/4 of 200 and 3/4 of 100; 3/4 of 100 and 1/4 of 200: both are mostly image 0.
    assert torch.equal(batch.images, torch.full((2, 3, 16, 16), 125.0))
    assert batch.index.tolist() == batch.target.tolist() == [0, 0]
