"""Image files to crops of one size; the part of the `folder` data set that runs in the worker processes.

Where JPEG files are decoded on the device (`rlkd_run.data.jpeg`), workers only read them and draw their crops.

A worker is told everything it needs with each request: which image, with which seed, mixed with what. So a worker
keeps no state, one that lives through many epochs needs no news, and it does not matter which worker gets which image.
"""

from __future__ import annotations

import io
import multiprocessing
import multiprocessing.util
import os
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils import data

from rlkd_run.data.crops import Crops, Cut
from rlkd_run.errors import in_a_line
from rlkd_run.interrupt import STOPS

# What Pillow raises for a damaged file depends on its format.
_DECODING_ERRORS = (OSError, ValueError, SyntaxError, EOFError, IndexError, Image.DecompressionBombError)

_JPEG_END = b"\xff\xd9"  # the marker that ends a whole file


class Request(NamedTuple):
    """One image that is wanted.

    Attributes:
        position: of the image among the files.
        seed: of its random crop and flip; None: the fixed centre crop.
        partner: position of the image that is mixed in.
        weight: share of the partner; 0: not mixed.
    """

    position: int
    seed: int | None = None
    partner: int = 0
    weight: float = 0.0


class Unreadable(NamedTuple):
    """What a worker returns for a file that cannot be decoded.

    A value and not an exception, for an exception would reach the main process wrapped in the worker's traceback.
    """

    problem: str


class NoRoom(NamedTuple):
    """What a worker returns where a batch does not fit into the memory that it shares with the main process."""

    problem: str


class Encoded(NamedTuple):
    """A JPEG file as it is.

    Attributes:
        data: its bytes, [n] uint8.
        request: what was asked for.
        cut: what is wanted of the image; None: the centre.
    """

    data: Tensor
    request: Request
    cut: Cut | None


class ImageFiles(data.Dataset[Tensor | Encoded | Unreadable]):
    """Decodes, mixes, crops and flips single images.

    Args:
        files: the image files.
        crops: how they are cut.
        encoded: leave what `rlkd_run.data.jpeg` can decode as it is.
    """

    def __init__(self, files: Sequence[Path], crops: Crops, *, encoded: bool = False) -> None:
        # One array of bytes: a list of a million strings would be copied into every worker, page by page, as soon as
        # its reference counts are touched.
        self._files = np.array([os.fsencode(file) for file in files], dtype=np.bytes_)
        self._crops = crops
        self._encoded = encoded

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, request: Request) -> Tensor | Encoded | Unreadable:
        """The image as [S, S, 3] uint8, or its file, or why there is none."""
        if self._encoded and request.weight == 0:
            encoded = self._read(request)
            if encoded is not None:
                return encoded
        return self.pixels(request)

    def pixels(self, request: Request) -> Tensor | Unreadable:
        """The image as [S, S, 3] uint8, or why there is none."""
        image = self._decode(request.position)
        if isinstance(image, Unreadable):
            return image
        if request.weight > 0:
            partner = self._decode(request.partner)
            if isinstance(partner, Unreadable):
                return partner
            # Rounded to whole pixel values, like every image that was ever decoded.
            image = Image.blend(image, partner.resize(image.size, Image.Resampling.BILINEAR), request.weight)
        return torch.from_numpy(np.array(self._crops.take(image, self._crops.draw(image, request.seed))))

    def _decode(self, position: int) -> Image.Image | Unreadable:
        file = os.fsdecode(self._files[position])
        try:
            with Image.open(file) as image:
                if image.mode in ("I", "F"):
                    return Unreadable(f"{file} has 32-bit pixels, of unknown range: convert it to 8 or 16 bits.")
                return _rgb(image)
        except PermissionError as error:
            return Unreadable(f"{file} must not be read: {error.strerror}.")
        except _DECODING_ERRORS as error:
            return Unreadable(
                f"{file} is not a readable image ({error}): repair it or remove it (with other images, checkpoints "
                "from before do not go on)."
            )

    def _read(self, request: Request) -> Encoded | None:
        """The file, if it is a JPEG file of three colours that ends as one does: others are for Pillow to judge."""
        try:
            content = Path(os.fsdecode(self._files[request.position])).read_bytes()
            with Image.open(io.BytesIO(content)) as image:  # reads the header alone
                if image.format != "JPEG" or image.mode != "RGB" or not content.rstrip(b"\0").endswith(_JPEG_END):
                    return None
                cut = self._crops.draw(image, request.seed)
                return Encoded(torch.frombuffer(bytearray(content), dtype=torch.uint8), request, cut)
        except _DECODING_ERRORS:
            return None


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16"):  # of these, Pillow would cut off all above 255, which is nearly everything
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)).convert("RGB")
    # With a transparent colour Pillow wants the detour, and warns without it.
    decoded: Image.Image = image.convert("RGBA") if "transparency" in image.info else image
    return decoded.convert("RGB")


def collate(items: Sequence[Tensor | Unreadable]) -> Tensor | Unreadable | NoRoom:
    """[B, S, S, 3] uint8, or the first problem among the images."""
    images = []
    for item in items:
        if isinstance(item, Unreadable):
            return item
        images.append(item)
    batch = torch.stack(images)
    return no_room(batch) or batch


def no_room(*tensors: Tensor) -> NoRoom | None:
    """In a worker, move what it made to the memory that it shares with the main process; or say that it has no room.

    Left to the queue, this is done by a thread of its own, whose failure nobody hears of: the batch would be waited for
    for ever.
    """
    if data.get_worker_info() is None:
        return None
    try:
        for tensor in tensors:
            tensor.share_memory_()  # type: ignore[no-untyped-call]
    except RuntimeError as error:
        return NoRoom(
            f"A batch of images does not fit into shared memory ({in_a_line(error)}): enlarge /dev/shm "
            "(docker run --shm-size=1g), or set runtime.num_workers=0. The same command goes on from its last "
            "checkpoint."
        )
    return None


def leave_signals_to_main(worker: int) -> None:
    """Ctrl-C, a closed terminal, a scheduler: they signal the whole group; the main process decides when workers stop.

    A worker whose parent was killed leaves by itself; those that are left when the parent exits, `_end_workers` ends.
    """
    del worker
    for number in STOPS:
        signal.signal(number, signal.SIG_IGN)


def _end_workers() -> None:
    """When the interpreter exits, multiprocessing sends its daemons a SIGTERM and waits; ours would not hear it."""
    workers = [process for process in multiprocessing.active_children() if process.daemon]
    if workers:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # torch takes the death of a worker for a failure
    for worker in workers:
        worker.kill()


multiprocessing.util.Finalize(None, _end_workers, exitpriority=0)
