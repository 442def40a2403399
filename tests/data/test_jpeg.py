"""JPEG files that the device decodes. The decoder that torchvision has for the CPU stands in for the GPU's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from rlkd_run.data import folder, jpeg
from rlkd_run.data.crops import Crops
from rlkd_run.data.dataset import Dataset
from rlkd_run.errors import ConfigError
from rlkd_run.protocol import Batch, MixPlan

pytestmark = [
    pytest.mark.filterwarnings("ignore:This process .* is multi-threaded, use of fork:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning"),  # a machine with one core
]

CPU = torch.device("cpu")
LEVELS = 3 / 255  # by which Pillow's resizing and the device's may differ

Opener = Callable[..., Dataset]


@pytest.fixture
def root() -> Path:
    """Six images a split; all but two JPEG files of three colours."""
    rows, columns = np.mgrid[0:60, 0:48]
    for split in ("train", "val"):
        for label in range(2):
            Path("images", split, f"class{label}").mkdir(parents=True)
        for number in range(6):
            waves = [128 + 100 * np.sin((rows + shift * columns) / (5 + number)) for shift in range(3)]
            image = Image.fromarray(np.stack(waves, axis=-1).astype(np.uint8)).resize((48 + 3 * number, 60))
            name = Path("images", split, f"class{number % 2}", f"{number}.jpg")
            if number == 4:
                image = image.convert("L")
            image.save(name.with_suffix(".png") if number == 5 else name, quality=95)
    return Path("images")


@pytest.fixture
def on_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the CPU pass for a GPU."""
    monkeypatch.setattr(folder, "check_decoder", lambda device: None)


@pytest.fixture
def pixels(open_tree: Opener) -> Callable[..., Opener]:
    """A tree whose batches hold values in [0, 1]."""
    return lambda root, **changes: open_tree(root, mean=[0.0] * 3, std=[1.0] * 3, **changes)


def both(open_: Any, root: Path, walk: Callable[[Dataset], Iterator[Batch]], workers: int = 0) -> list[list[Batch]]:
    return [list(walk(open_(root, decode=decode, num_workers=workers))) for decode in ("cpu", "gpu")]


def equal(one: Tensor, other: Tensor) -> Tensor:
    return (one == other).flatten(1).all(dim=1)


@pytest.mark.usefixtures("on_device")
@pytest.mark.parametrize("workers", [0, 2])
def test_the_same_crops_as_on_the_cpu(pixels: Any, root: Path, workers: int) -> None:
    for walk in (
        lambda data: data.train_batches(4, seed=0).epoch(3),
        lambda data: iter(data.test_batches(4)),
    ):
        for host, device in zip(*both(pixels, root, walk, workers), strict=True):
            assert host.images.shape == device.images.shape
            assert (host.images - device.images).abs().max() <= LEVELS
            assert host.target.equal(device.target)
            assert host.index.equal(device.index)


@pytest.mark.usefixtures("on_device")
def test_other_files_and_mixtures_are_decoded_by_the_workers(pixels: Any, root: Path) -> None:
    def decoded(monkey: pytest.MonkeyPatch, mix: MixPlan | None) -> tuple[int, Tensor]:
        files: list[Tensor] = []
        real = jpeg.decode
        monkey.setattr(jpeg, "decode", lambda wanted, device: files.extend(wanted) or real(wanted, device))
        ((host,), (device,)) = both(pixels, root, lambda data: data.train_batches(6, seed=0).epoch(1, mix))
        return len(files), equal(host.images, device.images)[host.index.argsort()]

    with pytest.MonkeyPatch.context() as monkey:
        number, same = decoded(monkey, None)
        assert number == 4
        assert same.sum() >= 2  # the grey and the PNG file
    with pytest.MonkeyPatch.context() as monkey:
        plan = MixPlan(torch.arange(6).flip(0), torch.full((6,), 0.3))
        number, same = decoded(monkey, plan)
        assert number == 0
        assert same.all()


@pytest.mark.usefixtures("on_device")
def test_what_the_device_refuses_is_decoded_by_pillow(pixels: Any, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    odd = (root / "val/class1/1.jpg").stat().st_size
    real = jpeg.decode

    def decode(files: list[Tensor], device: torch.device) -> list[Tensor]:
        if any(len(file) == odd for file in files):
            raise RuntimeError("nvjpeg: status 2")
        return real(files, device)

    monkeypatch.setattr(jpeg, "decode", decode)
    ((host,), (device,)) = both(pixels, root, lambda data: iter(data.test_batches(6)))
    assert (host.images - device.images).abs().max() <= LEVELS
    names = sorted((root / "val").glob("*/*"))
    assert equal(host.images, device.images)[names.index(root / "val/class1/1.jpg")]


@pytest.mark.usefixtures("on_device")
def test_what_the_device_cannot_resize_is_decoded_by_pillow(
    pixels: Any, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Crops.take

    def take(crops: Crops, image: Any, cut: Any) -> Any:
        if isinstance(image, Tensor):
            raise RuntimeError("Please reduce the scale factor. Too much shared memory required: 49408 vs 49152")
        return real(crops, image, cut)

    monkeypatch.setattr(Crops, "take", take)
    for walk in (
        lambda data: data.train_batches(6, seed=0).epoch(1),
        lambda data: iter(data.test_batches(6)),
    ):
        ((host,), (device,)) = both(pixels, root, walk)
        assert equal(host.images, device.images).all()


@pytest.mark.usefixtures("on_device")
def test_a_full_device_is_no_images_fault(pixels: Any, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def decode(*_: Any) -> list[Tensor]:
        raise RuntimeError("Error while decoding JPEG images: CUDA out of memory. Tried to allocate 2.00 GiB")

    monkeypatch.setattr(jpeg, "decode", decode)
    with pytest.raises(RuntimeError, match="out of memory"):
        next(iter(pixels(root, decode="gpu", num_workers=0).test_batches(6)))


def cut_short(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-300])


def without_header(file: Path) -> None:
    file.write_bytes(b"\xff\xd8" + file.read_bytes()[-300:])


@pytest.mark.usefixtures("on_device")
@pytest.mark.parametrize("spoil", [cut_short, without_header, Path.unlink])
def test_unreadable_files_are_named(pixels: Any, root: Path, spoil: Callable[[Path], None]) -> None:
    data = pixels(root, decode="gpu")
    spoil(root / "train/class0/2.jpg")
    with pytest.raises(ConfigError, match=r"class0/2\.jpg is not a readable image"):
        list(data.train_batches(4, seed=0).epoch(1))


@pytest.mark.usefixtures("on_device")
def test_a_file_that_nobody_can_decode_is_named(pixels: Any, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Its header and its end look well: only decoding tells.
    broken = root / "train/class0/2.jpg"
    content = broken.read_bytes()
    broken.write_bytes(content[: len(content) // 4] + b"\xff\xd9")

    def decode(files: list[Tensor], device: torch.device) -> list[Tensor]:
        raise RuntimeError("nvjpeg: status 3")

    monkeypatch.setattr(jpeg, "decode", decode)
    with pytest.raises(ConfigError, match=r"class0/2\.jpg is not a readable image"):
        list(pixels(root, decode="gpu").train_batches(4, seed=0).epoch(1))


def test_without_a_gpu(open_tree: Opener, root: Path) -> None:
    with pytest.raises(ConfigError, match=r"dataset\.decode=gpu, but the run is on the CPU"):
        open_tree(root, decode="gpu")


def test_a_torchvision_without_a_decoder(monkeypatch: pytest.MonkeyPatch) -> None:
    def decode(*_: Any) -> list[Tensor]:
        raise RuntimeError("torchvision not compiled with nvJPEG support\nException raised from decode")

    monkeypatch.setattr(jpeg, "decode", decode)
    with pytest.raises(ConfigError) as caught:
        jpeg.check_decoder(torch.device("cuda"))
    assert str(caught.value).startswith("dataset.decode=gpu, but torchvision does not decode JPEG files on the GPU")
    assert "(torchvision not compiled with nvJPEG support)" in str(caught.value)


def test_the_decoder_gives_what_pillow_reads(root: Path) -> None:
    files = sorted((root / "train").glob("*/*.jpg"))
    read = [torch.frombuffer(bytearray(file.read_bytes()), dtype=torch.uint8) for file in files]
    for image, file in zip(jpeg.decode(read, CPU), files, strict=True):
        expected = np.array(Image.open(file).convert("RGB"))
        assert image.dtype == torch.uint8
        assert (image.permute(1, 2, 0).int() - torch.from_numpy(expected).int()).abs().max() <= 2
