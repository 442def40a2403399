"""Small images of one size: all of them live on the device as uint8 and are augmented there, a batch at a time.

Augmentation is the one of the CIFAR literature: zero-pad by `pad` pixels, crop a window of the image's own size, flip
with probability 1/2, normalise. The padding is done once, in pixel space (black, before the normalisation). A crop
then is a copy of rows out of the padded store: of ``index_select`` over a view of the store as overlapping windows one
row high, gathers of single pixels and ``unfold``, the first is the fastest on a CPU, and needs no value on the host.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from rlkd_run.config.datasets import DatasetOptions
from rlkd_run.data.dataset import Draw, Loading
from rlkd_run.data.fingerprint import Fingerprint
from rlkd_run.data.mixing import check_plan, mixed_labels
from rlkd_run.data.normalise import Normaliser
from rlkd_run.data.selection import limited, split_training
from rlkd_run.data.transfer import upload
from rlkd_run.errors import ConfigError
from rlkd_run.protocol import Batch, MixPlan, Views
from rlkd_run.seeding import derive_seed


class RawImages(NamedTuple):
    """A data set as its files have it, on the CPU.

    Attributes:
        train_images, test_images: [N, H, W, 3] uint8.
        train_labels, test_labels: [N] in 0..C-1, integers of any width.
        class_names: C names.
    """

    train_images: Tensor
    train_labels: Tensor
    test_images: Tensor
    test_labels: Tensor
    class_names: list[str]


def fingerprint_of_pixels(raw: RawImages) -> Fingerprint:
    """Of images that are in memory anyhow, all that is known of them."""

    def digest(*tensors: Tensor) -> str:
        found = hashlib.sha256()
        for tensor in tensors:
            found.update(str(list(tensor.shape)).encode())
            found.update(tensor.contiguous().numpy().data)
        return found.hexdigest()[:16]

    return {
        "train": digest(raw.train_images, raw.train_labels.long()),
        "test": digest(raw.test_images, raw.test_labels.long()),
    }


class ResidentDataset:
    """A `Dataset` whose pixels stay on the device. A new one needs only its `RawImages`.

    Args:
        options: of the data set.
        raw: its images.
        loading: where they are to live, and how the batches are wanted.
        published: whether they are always the same, being checked against published sums or part of a package.

    Attributes:
        fingerprint: tells whether they are still the same the next time; None where they are `published`.

    Raises:
        ConfigError: the images or labels are not what `RawImages` says, or the options ask for more than there are.
    """

    def __init__(self, options: DatasetOptions, raw: RawImages, loading: Loading, *, published: bool = False) -> None:
        device = loading.device
        _check(options.name, raw)
        self.fingerprint = None if published else fingerprint_of_pixels(raw)
        raw = raw._replace(train_labels=raw.train_labels.long(), test_labels=raw.test_labels.long())
        split = split_training(raw.train_labels, options.train_limit, options.val_split, loading.probe_images)
        test = limited(raw.test_labels, options.test_limit, "dataset.test_limit")
        height, width = raw.train_images.shape[1:3]
        self.name = options.name
        self.class_names = raw.class_names
        self.num_classes = len(raw.class_names)
        self.image_shape = (3, height, width)
        self.mean = list(options.mean)
        self.std = list(options.std)
        self.num_train, self.num_test, self.num_val = len(split.train), len(test), len(split.val)
        self._flip = options.flip
        self._normalise = Normaliser(self.mean, self.std, width, device, loading.channels_last)
        self._train = _PaddedImages(raw.train_images[split.train], options.pad, device)
        self._train_targets = raw.train_labels[split.train].to(device)
        self._val = _images_on(device, raw.train_images, raw.train_labels, split.val)
        self._probe = _images_on(device, raw.train_images, raw.train_labels, split.probe)
        self._probe_batch: Batch | None = None
        self._test = _images_on(device, raw.test_images, raw.test_labels, test)

    def train_batches(self, batch_size: int, seed: int) -> ResidentTrainLoader:
        """See `Dataset`."""
        return ResidentTrainLoader(self._train, self._train_targets, self._flip, self._normalise, batch_size, seed)

    def test_batches(self, batch_size: int) -> ResidentEvalLoader:
        """See `Dataset`."""
        return ResidentEvalLoader(*self._test, self._normalise, batch_size)

    def val_batches(self, batch_size: int) -> ResidentEvalLoader | None:
        """See `Dataset`."""
        return ResidentEvalLoader(*self._val, self._normalise, batch_size) if self.num_val else None

    def probe_batch(self) -> Batch | None:
        """See `Dataset`."""
        pixels, targets = self._probe
        if len(targets) and self._probe_batch is None:  # normalised once: a reward may want it at every step
            (self._probe_batch,) = ResidentEvalLoader(pixels, targets, self._normalise, len(targets))
        return self._probe_batch


class ResidentTrainLoader:
    """A `TrainLoader` over a padded store on the device; owns the generator of all its chances."""

    def __init__(
        self,
        images: _PaddedImages,
        targets: Tensor,
        flip: bool,
        normalise: Normaliser,
        batch_size: int,
        seed: int,
    ) -> None:
        self.num_images = len(targets)
        self.batch_size = batch_size
        self.steps_per_epoch = -(-self.num_images // batch_size)
        self._images = images
        self._targets = targets
        self._offsets = 2 * images.pad + 1  # of a crop, in each direction
        self._flips = 2 if flip else 1
        self.num_views = self._offsets**2 * self._flips
        self._normalise = normalise
        self._seed = seed
        self._generator = torch.Generator()  # on the CPU, so that every device sees the same order and crops

    def epoch(self, epoch: int, mix: MixPlan | None = None, start_step: int = 0) -> Iterator[Batch]:
        """See `TrainLoader`. Nothing in the iteration waits for the device."""
        if not 0 <= start_step <= self.steps_per_epoch:
            raise ValueError(f"start_step {start_step} is not in an epoch of {self.steps_per_epoch} steps")
        if mix is not None:
            check_plan(mix, self.num_images)
        return self._batches(epoch, mix, start_step)

    def _batches(self, epoch: int, mix: MixPlan | None, start_step: int) -> Iterator[Batch]:
        if mix is not None:
            mix = mix.to(self._targets.device)
        for draw in self.draws(epoch, start_step):
            yield self.batch_of(draw, mix)

    def draws(self, epoch: int, start_step: int = 0) -> Iterator[Draw]:
        """See `DrawnLoader`."""
        drawn = self._draw(epoch)
        image, corner, flip, key = (upload(chance, self._targets.device) for chance in drawn[:-1])
        whole = Draw(image, corner, flip, key, drawn.key_host)
        for step in range(start_step, self.steps_per_epoch):
            here = slice(step * self.batch_size, (step + 1) * self.batch_size)
            yield Draw(*(chance[here] for chance in whole))

    def batch_of(self, draw: Draw, mix: MixPlan | None) -> Batch:
        """See `DrawnLoader`."""
        index, corner, flip, key, key_host = draw
        if mix is None:
            pixels = self._images.crop(index, corner, flip)
            return Batch(self._normalise(pixels), self._targets[index], index, views=Views(key_host, key))
        pixels = self._mixture(mix, index, corner, flip)
        target, label_index, labels = mixed_labels(mix, index, self._targets)
        return Batch(self._normalise(pixels), target, label_index, labels)

    def images_of(self, keys: Tensor) -> Tensor:
        """See `TrainLoader`."""
        index, view = keys // self.num_views, keys % self.num_views
        flip, place = view % self._flips, view // self._flips
        top, left = place // self._offsets, place % self._offsets
        corner = top * self._images.padded_width + left
        device = self._targets.device
        return self._normalise(self._images.crop(*(upload(one, device) for one in (index, corner, flip))))

    def _draw(self, epoch: int) -> Draw:
        """All chances of an epoch, [N] each, on the CPU."""
        generator = self._generator.manual_seed(derive_seed(self._seed, "data", epoch))
        order = torch.randperm(self.num_images, generator=generator)
        top, left = torch.randint(0, self._offsets, (2, self.num_images), generator=generator)
        flip = torch.randint(0, 2, (self.num_images,), generator=generator) * (self._flips - 1)
        view = (top * self._offsets + left) * self._flips + flip
        key = order * self.num_views + view
        return Draw(order, top * self._images.padded_width + left, flip, key, key)

    def _mixture(self, mix: MixPlan, index: Tensor, corner: Tensor, flip: Tensor) -> Tensor:
        # A crop and a flip move pixels without changing them, so mixing two equal crops is cropping the mixture.
        own = self._images.crop(index, corner, flip).float()
        partner = self._images.crop(mix.partner[index], corner, flip).float()
        return torch.lerp(own, partner, mix.weight[index].view(-1, 1, 1, 1))


class ResidentEvalLoader:
    """An `EvalLoader` over images on the device.

    Args:
        pixels: [N, H, W, 3] uint8.
        targets: [N] int64.
        normalise: see `Normaliser`.
        batch_size: images a batch.
    """

    def __init__(self, pixels: Tensor, targets: Tensor, normalise: Normaliser, batch_size: int) -> None:
        self._pixels = pixels
        self._targets = targets
        self._normalise = normalise
        self._batch_size = batch_size

    def __len__(self) -> int:
        return -(-len(self._targets) // self._batch_size)

    def __iter__(self) -> Iterator[Batch]:
        for start in range(0, len(self._targets), self._batch_size):
            here = slice(start, start + self._batch_size)
            target = self._targets[here]
            index = torch.arange(start, start + len(target), device=target.device)
            yield Batch(self._normalise(self._pixels[here]), target, index)


class _PaddedImages:
    """The padded store, [N, H + 2 pad, W + 2 pad, 3] uint8, and its crops."""

    def __init__(self, pixels: Tensor, pad: int, device: torch.device) -> None:
        count, self.height, self.width, channels = pixels.shape
        padded_height, self.padded_width = self.height + 2 * pad, self.width + 2 * pad
        self.pad = pad
        store = torch.zeros((count, padded_height, self.padded_width, channels), dtype=torch.uint8, device=device)
        store[:, pad : pad + self.height, pad : pad + self.width] = pixels.to(device)
        self._pixels_per_image = padded_height * self.padded_width
        # Window k: the W pixels from pixel k of the flat store on.
        windows = count * self._pixels_per_image - self.width + 1
        self._windows = store.as_strided((windows, self.width * channels), (channels, 1))
        self._row_starts = torch.arange(self.height, device=device) * self.padded_width

    def crop(self, index: Tensor, corner: Tensor, flip: Tensor) -> Tensor:
        """Crops of a batch.

        Args:
            index: rows of the store, [B] int64.
            corner: first pixel of each crop, counted within the padded image, [B] int64.
            flip: 1 where the crop is mirrored, else 0, [B] int64.

        Returns:
            [B, H, W, 3] uint8, contiguous.
        """
        batch = len(index)
        starts = (index * self._pixels_per_image + corner).unsqueeze(1) + self._row_starts
        crops = torch.index_select(self._windows, 0, starts.flatten()).view(batch, -1)
        mirrored = crops.view(-1, self.width, 3).flip(1).view(batch, -1)
        # Copying whole images out of the two is faster than torch.where, which goes byte by byte.
        choice = torch.arange(batch, device=index.device) + batch * flip
        both = torch.cat((crops, mirrored))
        return torch.index_select(both, 0, choice).view(batch, self.height, self.width, 3)


def _check(name: str, raw: RawImages) -> None:
    # Of floats in [0, 1] the store would keep zeros, and a label too large stops a GPU far from here.
    classes, size = len(raw.class_names), raw.train_images.shape[1:3]
    for split, images, labels in (
        ("train", raw.train_images, raw.train_labels),
        ("test", raw.test_images, raw.test_labels),
    ):
        for part, tensor in (("images", images), ("labels", labels)):
            if tensor.device.type != "cpu":  # where they are read, whatever device they are to live on
                raise ConfigError(f"dataset={name}: {split}_{part} must be on the CPU, not on {tensor.device}.")
        shape = list(images.shape)
        if images.dtype != torch.uint8 or len(shape) != 4 or shape[3] != 3:
            raise ConfigError(
                f"dataset={name}: {split}_images must be [N, H, W, 3] in uint8, not {shape} in {_name(images)}."
            )
        if images.shape[1:3] != size:
            raise ConfigError(f"dataset={name}: test_images are {shape[1:3]} pixels, train_images {list(size)}.")
        if labels.shape != images.shape[:1] or labels.is_floating_point():
            raise ConfigError(
                f"dataset={name}: {split}_labels must be integers [{shape[0]}], one an image, not "
                f"{list(labels.shape)} in {_name(labels)}."
            )
        if len(labels) and not 0 <= labels.min() <= labels.max() < classes:
            raise ConfigError(
                f"dataset={name}: {split}_labels are {int(labels.min())} to {int(labels.max())}, where {classes} class "
                f"names allow 0 to {classes - 1}."
            )


def _name(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _images_on(device: torch.device, pixels: Tensor, labels: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
    return pixels[positions].contiguous().to(device), labels[positions].to(device)
