"""JPEG files decoded on a GPU: worker processes read files and draw crops, the device does the rest.

The GPU's decoder (nvJPEG, through torchvision) and its resizing round otherwise than Pillow, by a few of 255 levels. So
this is an option, and part of what identifies a run.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from typing import NamedTuple

import torch
from PIL import Image
from torch import Tensor

from rlkd_run.data.crops import Crops, Cut
from rlkd_run.data.images import Encoded, ImageFiles, NoRoom, Request, Unreadable, no_room
from rlkd_run.errors import ConfigError, in_a_line


class EncodedBatch(NamedTuple):
    """A batch of B images on its way to the device, J of them as files.

    Attributes:
        data: the files one after another, [bytes] uint8: each tensor that goes between processes costs.
        lengths: of each file in bytes, J.
        places: of each file in the batch, J.
        requests: what was asked for, J.
        cuts: what is wanted of each file, J.
        pixels: the others, which a worker has decoded, [B - J, S, S, 3] uint8; None: there are none.
    """

    data: Tensor
    lengths: list[int]
    places: list[int]
    requests: list[Request]
    cuts: list[Cut | None]
    pixels: Tensor | None


def collate_encoded(items: Sequence[Tensor | Encoded | Unreadable]) -> EncodedBatch | Unreadable | NoRoom:
    """What a worker has read as one batch, or the first problem among it."""
    files: dict[int, Encoded] = {}
    pixels: list[Tensor] = []
    for place, item in enumerate(items):
        if isinstance(item, Unreadable):
            return item
        if isinstance(item, Encoded):
            files[place] = item
        else:
            pixels.append(item)
    encoded = list(files.values())
    batch = EncodedBatch(
        torch.cat([file.data for file in encoded]) if encoded else torch.empty(0, dtype=torch.uint8),
        [len(file.data) for file in encoded],
        list(files),
        [file.request for file in encoded],
        [file.cut for file in encoded],
        torch.stack(pixels) if pixels else None,
    )
    return no_room(batch.data, *(() if batch.pixels is None else (batch.pixels,))) or batch


class JpegDecoder:
    """Turns files into crops on the device.

    Args:
        images: decodes, on the CPU, what the device cannot.
        crops: cuts.
        device: where the crops are wanted.
    """

    def __init__(self, images: ImageFiles, crops: Crops, device: torch.device) -> None:
        self._images, self._crops, self._device = images, crops, device

    def __call__(self, batch: EncodedBatch) -> Tensor:
        """The batch's images on the device, [B, S, S, 3] uint8.

        Raises:
            ConfigError: neither the device nor Pillow can decode a file.
        """
        rest = iter(()) if batch.pixels is None else iter(batch.pixels.to(self._device, non_blocking=True))
        cut = dict(zip(batch.places, self._cut(batch), strict=True))
        number = len(cut) + (0 if batch.pixels is None else len(batch.pixels))
        return torch.stack([cut[place] if place in cut else next(rest) for place in range(number)])

    def _cut(self, batch: EncodedBatch) -> list[Tensor]:
        images = self._decode(list(torch.split(batch.data, batch.lengths)))
        taken = map(self._taken, images, batch.cuts)
        return [
            self._by_pillow(request) if one is None else one for request, one in zip(batch.requests, taken, strict=True)
        ]

    def _taken(self, image: Tensor | None, cut: Cut | None) -> Tensor | None:
        # [S, S, 3]; None: not here. A GPU resizes with what fits into the memory that a block of threads shares: to
        # about a hundredth, and no further.
        if image is None:
            return None
        try:
            return self._crops.take(image, cut).permute(1, 2, 0)
        except RuntimeError as error:
            _raise_if_out_of_memory(error)
            return None

    def _decode(self, files: list[Tensor]) -> Sequence[Tensor | None]:
        # [3, H, W] each. The decoder does not say which file it cannot decode: then one by one; None: not that one.
        if not files:
            return []
        try:
            return decode(files, self._device)
        except RuntimeError as error:
            _raise_if_out_of_memory(error)
            if len(files) == 1:
                return [None]
            return [self._decode([file])[0] for file in files]

    def _by_pillow(self, request: Request) -> Tensor:
        pixels = self._images.pixels(request)
        if isinstance(pixels, Unreadable):
            raise ConfigError(pixels.problem)
        return pixels.to(self._device)


def _raise_if_out_of_memory(error: RuntimeError) -> None:
    # That is no image's fault. Torchvision raises all that it meets anew, as a plain RuntimeError.
    if isinstance(error, torch.OutOfMemoryError) or "out of memory" in str(error):
        raise error


def decode(files: list[Tensor], device: torch.device) -> list[Tensor]:
    """JPEG files [bytes] uint8 on the CPU to images [3, H, W] uint8 on the device.

    Raises:
        RuntimeError: a file cannot be decoded, or torchvision was built without a decoder for the device.
        ImportError: torchvision has none at all any more, which is announced from 0.29 on.
    """
    from torchvision.io import ImageReadMode, decode_jpeg

    if device.type == "cuda":
        # The decoder writes on a stream of its own into memory which this stream may not be done with.
        torch.cuda.current_stream(device).synchronize()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        images: list[Tensor] = decode_jpeg(files, mode=ImageReadMode.RGB, device=device)
    return images


def check_decoder(device: torch.device) -> None:
    """Find out whether JPEG files can be decoded on the device.

    Raises:
        ConfigError: they cannot.
    """
    if device.type != "cuda":
        raise ConfigError("dataset.decode=gpu, but the run is on the CPU: dataset.decode=cpu decodes there.")
    file = io.BytesIO()
    Image.new("RGB", (16, 16)).save(file, format="JPEG")
    try:
        decode([torch.frombuffer(file.getbuffer(), dtype=torch.uint8)], device)
    except (RuntimeError, ImportError) as error:
        raise ConfigError(
            f"dataset.decode=gpu, but torchvision does not decode JPEG files on the GPU here ({in_a_line(error)}): "
            "dataset.decode=cpu decodes on the CPU."
        ) from error
