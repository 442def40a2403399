"""Images on the device: order, crops and flips, normalisation, entering an epoch in its middle."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from waiting import NoWaiting

from rlkd_run.data.resident import RawImages, ResidentDataset
from rlkd_run.errors import ConfigError
from rlkd_run.protocol import MixPlan

from .conftest import assert_same

Resident = Callable[..., ResidentDataset]


def test_equal_seeds_give_equal_batches_and_others_do_not(resident: Resident) -> None:
    batches = list(resident().train_batches(8, seed=5).epoch(3))
    assert_same(batches, list(resident().train_batches(8, seed=5).epoch(3)))
    for loader, epoch in ((resident().train_batches(8, seed=6), 3), (resident().train_batches(8, seed=5), 4)):
        others = list(loader.epoch(epoch))
        assert not torch.equal(torch.cat([b.index for b in batches]), torch.cat([b.index for b in others]))


def test_an_epoch_does_not_depend_on_what_ran_before_or_on_the_global_stream(resident: Resident) -> None:
    loader = resident().train_batches(8, seed=0)
    first, begun = list(loader.epoch(1)), loader.epoch(2)
    next(begun)
    torch.manual_seed(123)
    state = torch.get_rng_state()
    assert_same(first, list(loader.epoch(1)))
    assert torch.equal(torch.get_rng_state(), state)


def test_crops_do_not_depend_on_the_batch_size(resident: Resident) -> None:
    small = torch.cat([batch.images for batch in resident().train_batches(4, seed=0).epoch(1)])
    assert torch.equal(small, torch.cat([batch.images for batch in resident().train_batches(41, seed=0).epoch(1)]))


def test_every_image_comes_once_and_the_short_batch_is_kept(resident: Resident, raw: RawImages) -> None:
    loader = resident().train_batches(8, seed=0)
    batches = list(loader.epoch(1))
    assert [len(batch.index) for batch in batches] == [8, 8, 8, 8, 8, 1]
    assert (loader.steps_per_epoch, loader.num_images, loader.batch_size) == (6, 41, 8)
    index = torch.cat([batch.index for batch in batches])
    assert torch.equal(index.sort().values, torch.arange(41))
    assert torch.equal(torch.cat([batch.target for batch in batches]), raw.train_labels[index])
    assert all(batch.mix is None for batch in batches)


WRONG = {
    "floats": (
        {"train_images": torch.rand(41, 8, 8, 3)},
        "train_images must be [N, H, W, 3] in uint8, not [41, 8, 8, 3] in float32.",
    ),
    "grey": (
        {"test_images": torch.zeros(10, 8, 8, dtype=torch.uint8)},
        "test_images must be [N, H, W, 3] in uint8, not [10, 8, 8] in uint8.",
    ),
    "channels first": (
        {"train_images": torch.zeros(41, 3, 8, 8, dtype=torch.uint8)},
        "not [41, 3, 8, 8] in uint8.",
    ),
    "another size": (
        {"test_images": torch.zeros(10, 9, 9, 3, dtype=torch.uint8)},
        "test_images are [9, 9] pixels, train_images [",
    ),
    "a label too few": (
        {"train_labels": torch.zeros(40, dtype=torch.long)},
        "train_labels must be integers [41], one an image, not [40] in int64.",
    ),
    "labels in floats": (
        {"test_labels": torch.zeros(10)},
        "test_labels must be integers [10], one an image, not [10] in float32.",
    ),
    "labels from one": (
        {"train_labels": torch.arange(41) % 4 + 1},
        "train_labels are 1 to 4, where 4 class names allow 0 to 3.",
    ),
    "a negative label": (
        {"test_labels": torch.arange(10) % 4 - 1},
        "test_labels are -1 to 2, where 4 class names allow 0 to 3.",
    ),
    "images elsewhere": (
        {"test_images": torch.zeros(10, 8, 8, 3, dtype=torch.uint8, device="meta")},
        "test_images must be on the CPU, not on meta.",
    ),
    "labels elsewhere": (
        {"train_labels": torch.zeros(41, dtype=torch.long, device="meta")},
        "train_labels must be on the CPU, not on meta.",
    ),
}


@pytest.mark.parametrize(("fields", "sentence"), WRONG.values(), ids=WRONG)
def test_what_is_no_such_data_set_is_one_sentence(
    fields: dict[str, Tensor], sentence: str, resident: Resident, raw: RawImages
) -> None:
    with pytest.raises(ConfigError, match=re.escape(sentence)):
        resident(images=raw._replace(**fields))


@pytest.mark.parametrize("width", [torch.int32, torch.uint8])
def test_labels_may_be_integers_of_any_width(width: torch.dtype, resident: Resident, raw: RawImages) -> None:
    narrow = raw._replace(train_labels=raw.train_labels.to(width), test_labels=raw.test_labels.to(width))
    data = resident(narrow)
    targets = [batch.target for batch in (*data.train_batches(8, seed=0).epoch(1), *data.test_batches(8))]
    assert {target.dtype for target in targets} == {torch.int64}


def reference(image: Tensor, pad: int, top: int, left: int, flip: int) -> Tensor:
    """One image padded, cropped and flipped, pixel by pixel."""
    height, width, _ = image.shape
    out = torch.zeros_like(image)
    for y in range(height):
        for x in range(width):
            source_y, source_x = y + top - pad, x + left - pad
            if 0 <= source_y < height and 0 <= source_x < width:
                out[y, width - 1 - x if flip else x] = image[source_y, source_x]
    return out


@pytest.mark.parametrize(("pad", "flip"), [(2, True), (1, False), (0, True), (0, False)])
def test_augmentation_is_pad_crop_flip(resident: Resident, raw: RawImages, pad: int, flip: bool) -> None:
    for batch in resident(pad=pad, flip=flip).train_batches(16, seed=0).epoch(1):
        for image, index in zip(batch.images.permute(0, 2, 3, 1), batch.index.tolist(), strict=True):
            candidates = [
                reference(raw.train_images[index], pad, top, left, flipped)
                for top in range(2 * pad + 1)
                for left in range(2 * pad + 1)
                for flipped in range(1 + flip)
            ]
            assert sum(torch.equal(image, candidate.float()) for candidate in candidates) == 1


def test_offsets_and_flips_are_uniform(resident: Resident) -> None:
    count, pad = 5000, 2
    # The value of a pixel tells its place, so that one pixel tells the crop.
    places = torch.arange(1, 26, dtype=torch.uint8).view(1, 5, 5, 1).expand(count, 5, 5, 3)
    labels = torch.zeros(count, dtype=torch.int64)
    images = RawImages(places, labels, places[:10], labels[:10], ["all"])
    (batch,) = resident(images, pad=pad).train_batches(count, seed=0).epoch(1)
    pixels = batch.images[:, 0]
    # The middle pixel of a crop is never padding; one of its neighbours may be, which is 0.
    before, centre, after = pixels[:, 2, 1], pixels[:, 2, 2], pixels[:, 2, 3]
    flipped = (before == centre + 1) | ((after == centre - 1) & (after > 0))
    top, left = ((centre - 1) // 5).long(), ((centre - 1) % 5).long()
    offsets = torch.bincount(top * 5 + left, minlength=25)
    assert len(offsets) == 25
    assert (offsets - count / 25).abs().max() < 5 * (count / 25) ** 0.5
    assert abs(int(flipped.sum()) - count / 2) < 5 * count**0.5 / 2
    # Flip and offset are independent.
    for side in range(5):
        share = flipped[left == side].float().mean()
        assert abs(share - 0.5) < 0.1


@pytest.mark.parametrize("start", [0, 1, 5, 6])
@pytest.mark.parametrize("mixed", [False, True])
def test_an_epoch_can_be_entered_anywhere(resident: Resident, start: int, mixed: bool) -> None:
    mix = MixPlan(torch.arange(41).flip(0), torch.full((41,), 0.25)) if mixed else None
    whole = list(resident().train_batches(8, seed=0).epoch(2, mix))
    assert_same(whole[start:], list(resident().train_batches(8, seed=0).epoch(2, mix, start_step=start)))


def test_mistakes_of_the_caller_are_refused_at_once(resident: Resident) -> None:
    loader = resident().train_batches(8, seed=0)
    for start in (-1, 7):
        with pytest.raises(ValueError, match="start_step"):
            loader.epoch(1, start_step=start)
    with pytest.raises(ValueError, match="41 images"):
        loader.epoch(1, MixPlan(torch.arange(3), torch.zeros(3)))
    with pytest.raises(ValueError, match="labels"):
        loader.epoch(1, MixPlan(torch.arange(41), torch.zeros(41), "none"))


def test_evaluation_images_are_normalised_and_in_order(resident: Resident, raw: RawImages) -> None:
    mean, std = [0.5, 0.25, 0.1], [0.2, 0.3, 0.4]
    dataset = resident(mean=mean, std=std, val_split=0.2, probe_images=6)
    loader = dataset.test_batches(4)
    batches = list(loader)
    assert [len(batch.index) for batch in batches] == [4, 4, 2]
    assert len(loader) == 3
    assert torch.equal(torch.cat([batch.index for batch in batches]), torch.arange(10))
    assert torch.equal(torch.cat([batch.target for batch in batches]), raw.test_labels)
    expected = (raw.test_images.double() / 255 - torch.tensor(mean).double()) / torch.tensor(std).double()
    images = torch.cat([batch.images for batch in batches]).permute(0, 2, 3, 1).double()
    torch.testing.assert_close(images, expected, rtol=0, atol=1e-6)
    assert dataset.image_shape == (3, 6, 5)
    assert (dataset.mean, dataset.std) == (mean, std)


def test_validation_and_probe_images_are_not_augmented(resident: Resident, raw: RawImages) -> None:
    dataset = resident(val_split=0.2, probe_images=6)
    # Of the classes' 11, 10, 10, 10 images the last two are for validation; probes are the last of what remains.
    held = set(range(33, 41))
    probes = {32, 29, 30, 31, 28, 25}
    validation, probe = dataset.val_batches(100), dataset.probe_batch()
    assert validation is not None
    assert probe is not None
    (batch,) = validation
    for part, positions in ((batch, held), (probe, probes)):
        chosen = torch.tensor(sorted(positions))
        assert torch.equal(part.images.permute(0, 2, 3, 1), raw.train_images[chosen].float())
        assert torch.equal(part.target, raw.train_labels[chosen])
    kept = torch.tensor(sorted(set(range(41)) - held - probes))
    assert (dataset.num_train, dataset.num_val, dataset.num_test) == (len(kept), 8, 10)
    targets = torch.empty(len(kept), dtype=torch.int64)
    for train in dataset.train_batches(8, seed=0).epoch(1):
        targets[train.index] = train.target
    assert torch.equal(targets, raw.train_labels[kept])
    bare = resident()
    assert (bare.val_batches(4), bare.probe_batch(), bare.num_val) == (None, None, 0)


@pytest.mark.parametrize("channels_last", [True, False])
def test_the_memory_layout_is_the_one_asked_for(resident: Resident, channels_last: bool) -> None:
    layout = torch.channels_last if channels_last else torch.contiguous_format
    dataset = resident(channels_last=channels_last, probe_images=4)
    mix = MixPlan(torch.arange(41).flip(0)[:37], torch.full((37,), 0.25))
    mix = mix._replace(partner=mix.partner % 37)
    loader = dataset.train_batches(8, seed=0)
    for batch in (next(loader.epoch(1)), next(loader.epoch(1, mix)), next(iter(dataset.test_batches(4)))):
        assert batch.images.is_contiguous(memory_format=layout)
        assert batch.images.dtype == torch.float32
        assert batch.target.dtype == batch.index.dtype == torch.int64
    other = next(resident(channels_last=not channels_last, probe_images=4).train_batches(8, seed=0).epoch(1))
    assert torch.equal(next(loader.epoch(1)).images, other.images)


@pytest.mark.parametrize("labels", [None, "mixed", "low"])
def test_nothing_waits_for_the_device(resident: Resident, labels: str | None) -> None:
    mix = None if labels is None else MixPlan(torch.arange(41).flip(0), torch.full((41,), 0.25), labels)
    loader = resident().train_batches(8, seed=0)
    with NoWaiting():
        assert sum(1 for _ in loader.epoch(1, mix)) == 6
        with pytest.raises(AssertionError):
            torch.ones(1).item()  # the guard itself works


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_a_gpu_gets_the_same_batches_without_waiting(resident: Resident) -> None:
    mix = MixPlan(torch.arange(41).flip(0), torch.full((41,), 0.25))
    expected = list(resident().train_batches(8, seed=0).epoch(1, mix))
    epoch = resident(device=torch.device("cuda")).train_batches(8, seed=0).epoch(1, mix)
    batches = [next(epoch)]
    torch.cuda.set_sync_debug_mode("error")
    try:
        batches += list(epoch)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    for batch, other in zip(batches, expected, strict=True):
        assert torch.equal(batch.index.cpu(), other.index)
        torch.testing.assert_close(batch.images.cpu(), other.images)
