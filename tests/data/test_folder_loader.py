"""Image files: the same batches whatever the number of workers, every image once, entering an epoch in its middle."""

from __future__ import annotations

import gc
import multiprocessing
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from rlkd_run.data.dataset import Dataset
from rlkd_run.protocol import MixPlan

from .conftest import assert_same

pytestmark = [
    pytest.mark.filterwarnings("ignore:This process .* is multi-threaded, use of fork:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning"),  # a machine with one core
]

Tree = Callable[..., Path]
Opener = Callable[..., Dataset]


@pytest.mark.parametrize("mixed", [False, True])
def test_the_number_of_workers_changes_nothing(image_tree: Tree, open_tree: Opener, mixed: bool) -> None:
    root = image_tree()
    mix = MixPlan(torch.arange(12).flip(0), torch.full((12,), 0.3)) if mixed else None
    batches = [
        list(open_tree(root, num_workers=workers).train_batches(5, seed=0).epoch(2, mix)) for workers in (0, 1, 2)
    ]
    assert_same(batches[0], batches[1])
    assert_same(batches[0], batches[2])


def test_seed_and_epoch_decide_and_nothing_else(image_tree: Tree, open_tree: Opener) -> None:
    dataset = open_tree(image_tree())
    loader = dataset.train_batches(5, seed=0)
    first = list(loader.epoch(1))
    state = torch.get_rng_state()
    second = list(loader.epoch(2))
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(99)
    assert_same(first, list(loader.epoch(1)))
    # Another batch size: the same order and the same crops.
    (whole,) = dataset.train_batches(12, seed=0).epoch(1)
    assert torch.equal(whole.images, torch.cat([batch.images for batch in first]))
    images = {int(index): image for index, image in zip(whole.index, whole.images, strict=True)}
    for others in (second, list(dataset.train_batches(5, seed=1).epoch(1))):
        assert not torch.equal(torch.cat([batch.index for batch in others]), whole.index)
        assert not any(
            torch.equal(image, images[int(index)])
            for batch in others
            for index, image in zip(batch.index, batch.images, strict=True)
        )


def test_every_image_comes_once_and_the_short_batch_is_kept(image_tree: Tree, open_tree: Opener) -> None:
    dataset = open_tree(image_tree(), num_workers=2)
    loader = dataset.train_batches(5, seed=0)
    batches = list(loader.epoch(1))
    assert [tuple(batch.images.shape) for batch in batches] == [(5, 3, 16, 16), (5, 3, 16, 16), (2, 3, 16, 16)]
    assert (loader.steps_per_epoch, loader.num_images, loader.batch_size) == (3, 12, 5)
    index = torch.cat([batch.index for batch in batches])
    assert torch.equal(index.sort().values, torch.arange(12))
    assert torch.equal(torch.cat([batch.target for batch in batches]), index // 4)
    assert dataset.class_names == ["class0", "class1", "class2"]


@pytest.mark.parametrize("workers", [0, 2])
def test_an_epoch_can_be_entered_anywhere(image_tree: Tree, open_tree: Opener, workers: int) -> None:
    dataset = open_tree(image_tree(), num_workers=workers)
    loader = dataset.train_batches(5, seed=0)
    whole = list(loader.epoch(2))
    for start in range(4):
        assert_same(whole[start:], list(loader.epoch(2, start_step=start)))
    with pytest.raises(ValueError, match="start_step"):
        loader.epoch(2, start_step=4)
    # An epoch that is left in its middle does not spoil the next.
    begun = loader.epoch(1)
    next(begun)
    assert_same(whole, list(loader.epoch(2)))


@pytest.mark.parametrize("begun", [False, True])
def test_workers_leave_with_a_loader_that_is_garbage(image_tree: Tree, open_tree: Opener, begun: bool) -> None:
    others = set(multiprocessing.active_children())
    loader = open_tree(image_tree(), num_workers=2).train_batches(4, seed=0)
    epoch = loader.epoch(1)
    next(epoch)
    if not begun:
        list(epoch)
    workers = set(multiprocessing.active_children()) - others
    assert len(workers) == 2
    cycle: list[object] = [loader, epoch]
    cycle.append(cycle)
    del loader, epoch, cycle
    gc.collect()
    # They left by themselves. One that is not told to is waited for ten seconds, and then killed.
    assert [worker.exitcode for worker in workers] == [0, 0]


@pytest.mark.parametrize("workers", [0, 2])
def test_test_images_are_scaled_and_cropped_in_the_middle(image_tree: Tree, open_tree: Opener, workers: int) -> None:
    root = image_tree()
    dataset = open_tree(root, num_workers=workers)
    loader = dataset.test_batches(5)
    batches = list(loader)
    assert [len(batch.index) for batch in batches] == [5, 5, 2]
    assert len(loader) == 3
    assert torch.equal(torch.cat([batch.index for batch in batches]), torch.arange(12))
    assert torch.equal(torch.cat([batch.target for batch in batches]), torch.arange(12) // 4)
    images = torch.cat([batch.images for batch in batches])
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    for image, file in zip(images, sorted(root.glob("val/*/*.png")), strict=True):
        with Image.open(file) as whole:
            width, height = whole.size
            scale = 18 / min(width, height)
            size = int(width * scale), int(height * scale)
            small = whole.resize(size, Image.Resampling.BILINEAR)
        left, top = round((size[0] - 16) / 2), round((size[1] - 16) / 2)
        pixels = np.asarray(small.crop((left, top, left + 16, top + 16)), dtype=np.float64)
        expected = torch.from_numpy((pixels / 255 - mean) / std).float().permute(2, 0, 1)
        torch.testing.assert_close(image, expected, rtol=0, atol=1e-5)


def test_training_images_are_random_crops(image_tree: Tree, open_tree: Opener) -> None:
    root = image_tree(classes=2, images=1, side=16, equal=True)
    plain = {"mean": [0.0] * 3, "std": [1 / 255] * 3, "image_size": 16, "min_scale": 1.0, "train_limit": 1}
    with Image.open(root / "train/class0/0.png") as image:
        pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1).float()
    seen = {True: 0, False: 0}
    loader = open_tree(root, **plain).train_batches(1, seed=0)
    for epoch in range(1, 41):  # with min_scale=1 a square image is left whole
        (batch,) = loader.epoch(epoch)
        flipped = torch.equal(batch.images[0], pixels.flip(2))
        assert flipped or torch.equal(batch.images[0], pixels)
        seen[flipped] += 1
    assert min(seen.values()) > 8
    unflipped = open_tree(root, **plain, flip=False).train_batches(1, seed=0)
    assert all(torch.equal(next(unflipped.epoch(epoch)).images[0], pixels) for epoch in range(1, 11))
    cropped = open_tree(root, **{**plain, "min_scale": 0.08}).train_batches(1, seed=0)
    assert len({next(cropped.epoch(epoch)).images.sum().item() for epoch in range(1, 11)}) == 10


def test_limits_validation_and_probe_images(image_tree: Tree, open_tree: Opener) -> None:
    dataset = open_tree(image_tree(), train_limit=9, test_limit=3, val_split=0.34, probe_images=2)
    assert (dataset.num_train, dataset.num_val, dataset.num_test) == (4, 3, 3)
    (train,), (test,) = dataset.train_batches(8, seed=0).epoch(1), dataset.test_batches(8)
    validation, probe = dataset.val_batches(8), dataset.probe_batch()
    assert validation is not None
    assert probe is not None
    (held,) = validation
    assert torch.equal(train.target.sort().values, torch.tensor([0, 1, 2, 2]))
    assert torch.equal(test.target, torch.arange(3))
    assert torch.equal(held.target, torch.arange(3))
    assert torch.equal(probe.target, torch.tensor([0, 1]))
    # Image 2 of each class is held out, image 1 of the first two is a probe; as if they were test images.
    whole = open_tree(Path("images"), train_dir="val", test_dir="train")
    (everything,) = whole.test_batches(12)
    assert torch.equal(held.images, everything.images[torch.tensor([2, 6, 10])])
    assert torch.equal(probe.images, everything.images[torch.tensor([1, 5])])
    assert (whole.val_batches(4), whole.probe_batch()) == (None, None)


def test_probe_images_are_decoded_once(image_tree: Tree, open_tree: Opener) -> None:
    root = image_tree()
    dataset = open_tree(root, probe_images=3)
    probe = dataset.probe_batch()
    for file in root.glob("train/*/*.png"):
        file.unlink()
    assert probe is not None
    assert dataset.probe_batch() is probe


@pytest.mark.parametrize("channels_last", [True, False])
def test_the_memory_layout_is_the_one_asked_for(image_tree: Tree, open_tree: Opener, channels_last: bool) -> None:
    layout = torch.channels_last if channels_last else torch.contiguous_format
    dataset = open_tree(image_tree(), channels_last=channels_last)
    for batch in (next(dataset.train_batches(5, seed=0).epoch(1)), next(iter(dataset.test_batches(4)))):
        assert batch.images.is_contiguous(memory_format=layout)


def test_images_of_every_kind_are_read(image_tree: Tree, open_tree: Opener) -> None:
    root = image_tree(classes=2, images=1)
    folder = root / "val/class0"
    (folder / "0.png").unlink()
    ramp = np.arange(400, dtype=np.uint8).reshape(20, 20)
    grey = Image.fromarray(ramp)
    grey.save(folder / "0-grey.png")
    Image.fromarray(ramp.astype(np.uint16) * 256 + 7).save(folder / "1-grey16.png")
    Image.merge("RGB", [grey] * 3).convert("RGBA").save(folder / "2-alpha.png")
    Image.merge("RGB", [grey] * 3).save(folder / "3-upper.BMP")
    paletted = Image.merge("RGB", [grey] * 3).quantize(256)
    paletted.save(folder / "4-transparent.png", transparency=b"\x80" * 256)
    (folder / "nested").mkdir()
    grey.save(folder / "nested/5.tif")
    grey.save(folder / ".hidden.png")
    (folder / "notes.txt").write_text("no image")
    (folder / ".thumbnails").mkdir()
    grey.save(folder / ".thumbnails/6.png")
    dataset = open_tree(root, image_size=20, resize=20, mean=[0.0] * 3, std=[1 / 255] * 3)
    (batch,) = dataset.test_batches(32)
    assert batch.target.tolist() == [0] * 6 + [1]
    expected = torch.from_numpy(ramp).float().expand(3, 20, 20)
    for image in batch.images[:6]:
        assert torch.equal(image, expected)
