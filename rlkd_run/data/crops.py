"""From images of any size to images of one: random resized crop and flip, or the centre (torchvision v2)."""

from __future__ import annotations

from typing import NamedTuple, TypeVar

import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms import v2

from rlkd_run.borrowed_stream import borrowed_stream
from rlkd_run.config.datasets import FolderOptions

_Pixels = TypeVar("_Pixels", Image.Image, Tensor)


class Cut(NamedTuple):
    """What is cut out of an image, in pixels of it, before it is brought to the size that is wanted."""

    top: int
    left: int
    height: int
    width: int
    flip: bool


class Crops:
    """The two ways to bring an image to one size: a random resized crop with a flip, and the centre crop.

    Args:
        options: of the data set.
    """

    def __init__(self, options: FolderOptions) -> None:
        self._size, self._resize = [options.image_size] * 2, [options.resize]  # a single number is the shorter side's
        self._flip = options.flip
        self._random = v2.RandomResizedCrop(options.image_size, scale=(options.min_scale, 1.0))

    def draw(self, image: Image.Image, seed: int | None) -> Cut | None:
        """A random crop of an image, of which only the size matters, and a flip; None without a seed."""
        if seed is None:
            return None
        with borrowed_stream(seed):
            box = self._random.make_params([image])
            return Cut(**box, flip=self._flip and torch.rand(1).item() < 0.5)

    def take(self, image: _Pixels, cut: Cut | None) -> _Pixels:
        """Cut it out of a Pillow image or of pixels [3, H, W] on any device."""
        if cut is None:
            whole = v2.functional.resize(image, self._resize)
            centre: _Pixels = v2.functional.center_crop(whole, self._size)
            return centre
        *box, flip = cut
        taken: _Pixels = v2.functional.resized_crop(image, *box, self._size)
        return v2.functional.horizontal_flip(taken) if flip else taken
