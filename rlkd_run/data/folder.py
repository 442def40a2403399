"""Images of any size in a train/val tree: decoded and cropped by worker processes, normalised on the device.

Training images: random resized crop and flip; test images: shorter side to `resize`, centre crop (torchvision v2).
"""

from __future__ import annotations

import functools
import os
import signal
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils import data

from rlkd_run.config.datasets import FolderOptions
from rlkd_run.data.crops import Crops
from rlkd_run.data.dataset import Loading
from rlkd_run.data.images import ImageFiles, NoRoom, Request, Unreadable, collate, leave_signals_to_main
from rlkd_run.data.jpeg import EncodedBatch, JpegDecoder, check_decoder, collate_encoded
from rlkd_run.data.mixing import check_plan, mixed_labels
from rlkd_run.data.normalise import Normaliser
from rlkd_run.data.selection import limited, split_training
from rlkd_run.data.transfer import SideStream, one_ahead, upload
from rlkd_run.data.tree import LabelledFiles, Tree, read_tree
from rlkd_run.errors import ConfigError, RunError
from rlkd_run.protocol import Batch, MixPlan
from rlkd_run.seeding import derive_seed

_MOST_WORKERS = 8


def open_folder(options: FolderOptions, loading: Loading) -> FolderDataset:
    """Any tree of class folders. See `open_dataset`."""
    return FolderDataset(options, loading)


class FolderDataset:
    """A `Dataset` of image files.

    Args:
        options: of the data set.
        loading: see `Loading`.
        tree: its files, where they were listed before.

    Raises:
        ConfigError: the tree cannot be used (see `read_tree`), the options ask for more images than there are, or
            the test images would be smaller than their crop.
    """

    def __init__(self, options: FolderOptions, loading: Loading, tree: Tree | None = None) -> None:
        if options.resize < options.image_size:
            raise ConfigError(
                f"dataset.resize={options.resize} must be at least dataset.image_size={options.image_size}, which is "
                "cut out of it."
            )
        tree = read_tree(options) if tree is None else tree
        split = split_training(tree.train.labels, options.train_limit, options.val_split, loading.probe_images)
        test = limited(tree.test.labels, options.test_limit, "dataset.test_limit")
        self.name = options.name
        self.class_names = tree.class_names
        self.num_classes = len(tree.class_names)
        self.image_shape = (3, options.image_size, options.image_size)
        self.mean = list(options.mean)
        self.std = list(options.std)
        self.fingerprint = tree.fingerprint
        self.num_train, self.num_test, self.num_val = len(split.train), len(test), len(split.val)
        self._options = options
        self._pipeline = _Pipeline(options, loading)
        self._train = _choose(tree.train, split.train)
        self._val = _choose(tree.train, split.val)
        self._probe = _choose(tree.train, split.probe)
        self._test = _choose(tree.test, test)
        self._probe_batch: Batch | None = None

    def train_batches(self, batch_size: int, seed: int) -> FolderTrainLoader:
        """See `Dataset`."""
        return FolderTrainLoader(self._train, self._pipeline, batch_size, seed)

    def test_batches(self, batch_size: int) -> FolderEvalLoader:
        """See `Dataset`."""
        return FolderEvalLoader(self._test, self._pipeline, batch_size)

    def val_batches(self, batch_size: int) -> FolderEvalLoader | None:
        """See `Dataset`."""
        return FolderEvalLoader(self._val, self._pipeline, batch_size) if self.num_val else None

    def probe_batch(self) -> Batch | None:
        """See `Dataset`."""
        if self._probe.files and self._probe_batch is None:  # read once: a reward may want it at every step
            parts = list(FolderEvalLoader(self._probe, self._pipeline, batch_size=32))
            self._probe_batch = Batch(
                torch.cat([part.images for part in parts]),
                torch.cat([part.target for part in parts]),
                torch.cat([part.index for part in parts]),
            )
        return self._probe_batch


class FolderTrainLoader:
    """A `TrainLoader` over image files; its workers live as long as it does."""

    num_views: int | None = None  # crops of any size

    def __init__(self, split: LabelledFiles, pipeline: _Pipeline, batch_size: int, seed: int) -> None:
        self.num_images = len(split.files)
        self.batch_size = batch_size
        self.steps_per_epoch = -(-self.num_images // batch_size)
        self._targets = split.labels.to(pipeline.device)
        self._pixels = _PixelStream(split.files, pipeline, lasting=True)
        self._normalise = pipeline.normalise
        self._seed = seed
        self._generator = torch.Generator()

    def epoch(self, epoch: int, mix: MixPlan | None = None, start_step: int = 0) -> Iterator[Batch]:
        """See `TrainLoader`. One epoch at a time: a second one ends the first."""
        if not 0 <= start_step <= self.steps_per_epoch:
            raise ValueError(f"start_step {start_step} is not in an epoch of {self.steps_per_epoch} steps")
        if mix is not None:
            check_plan(mix, self.num_images)
        return self._batches(epoch, mix, start_step)

    def images_of(self, keys: Tensor) -> Tensor:  # noqa: ARG002
        """See `TrainLoader`: there are no views to ask for."""
        raise ValueError("the crops of image files are not finitely many")

    def _batches(self, epoch: int, mix: MixPlan | None, start_step: int) -> Iterator[Batch]:
        self._generator.manual_seed(derive_seed(self._seed, "data", epoch))
        order = torch.randperm(self.num_images, generator=self._generator)
        batches = torch.split(order[start_step * self.batch_size :], self.batch_size)
        if start_step == self.steps_per_epoch:
            return
        device = self._targets.device
        on_host = None if mix is None else mix.to(torch.device("cpu"))
        mix = None if mix is None else mix.to(device)
        seed = self._seed  # the workers' iterator holds on to `requests`, which must not lead back to this loader
        requests = (_train_requests(seed, epoch, positions, on_host) for positions in batches)
        for positions, pixels in zip(batches, self._pixels.read(requests), strict=True):
            index = upload(positions, device)
            images = self._normalise(pixels)
            if mix is None:
                yield Batch(images, self._targets[index], index)
            else:
                yield Batch(images, *mixed_labels(mix, index, self._targets))


def _train_requests(seed: int, epoch: int, positions: Tensor, mix: MixPlan | None) -> list[Request]:
    order: list[int] = positions.tolist()
    seeds = [derive_seed(seed, "crop", epoch, position) for position in order]
    if mix is None:
        return [Request(position, crop) for position, crop in zip(order, seeds, strict=True)]
    partners, weights = mix.partner[positions].tolist(), mix.weight[positions].tolist()
    return [Request(*request) for request in zip(order, seeds, partners, weights, strict=True)]


class FolderEvalLoader:
    """An `EvalLoader` over image files."""

    def __init__(self, split: LabelledFiles, pipeline: _Pipeline, batch_size: int) -> None:
        self._targets = split.labels.to(pipeline.device)
        self._pixels = _PixelStream(split.files, pipeline, lasting=False)
        self._normalise = pipeline.normalise
        self._batch_size = batch_size

    def __len__(self) -> int:
        return -(-len(self._targets) // self._batch_size)

    def __iter__(self) -> Iterator[Batch]:
        starts = range(0, len(self._targets), self._batch_size)
        positions = (range(start, min(start + self._batch_size, len(self._targets))) for start in starts)
        requests = ([Request(position) for position in batch] for batch in positions)
        for start, pixels in zip(starts, self._pixels.read(requests), strict=True):
            index = torch.arange(start, start + len(pixels), device=self._targets.device)
            yield Batch(self._normalise(pixels), self._targets[start : start + len(pixels)], index)


class _Pipeline:
    """What all loaders of a data set share."""

    def __init__(self, options: FolderOptions, loading: Loading) -> None:
        self.crops = Crops(options)
        self.device = loading.device
        self.encoded = options.decode == "gpu"
        if self.encoded:
            check_decoder(loading.device)
        self.num_workers = _default_workers() if loading.num_workers is None else loading.num_workers
        self.normalise = Normaliser(
            list(options.mean), list(options.std), options.image_size, loading.device, loading.channels_last
        )


class _PixelStream:
    """Runs requests through worker processes, in order.

    Args:
        files: the images that the requests count.
        pipeline: see `_Pipeline`.
        lasting: keep the workers when the requests are through, for the next time.
    """

    def __init__(self, files: list[Path], pipeline: _Pipeline, lasting: bool) -> None:
        self._requests = _Requests()
        workers = pipeline.num_workers
        self._lasting = lasting and workers > 0
        self._held = False
        images = ImageFiles(files, pipeline.crops, encoded=pipeline.encoded)
        self._bring: Callable[[Any], Tensor] = (
            JpegDecoder(images, pipeline.crops, pipeline.device)
            if pipeline.encoded
            else functools.partial(Tensor.to, device=pipeline.device, non_blocking=True)
        )
        # One for good: what torch keeps of a stream's freed memory serves that stream alone, and a process has 32.
        self._side: SideStream[Any] | None = (
            SideStream(pipeline.device, self._bring) if pipeline.device.type == "cuda" else None
        )
        self._loader: data.DataLoader[Any] = data.DataLoader(
            images,
            batch_sampler=self._requests,
            num_workers=workers,
            collate_fn=collate_encoded if pipeline.encoded else collate,
            pin_memory=pipeline.device.type == "cuda",
            persistent_workers=self._lasting,
            worker_init_fn=leave_signals_to_main,
            generator=torch.Generator(),  # the loader draws a seed for its workers: not from the global stream
        )

    def read(self, requests: Iterable[list[Request]]) -> Iterator[Tensor]:
        """The pixels of each list of requests on the device, [B, S, S, 3] uint8.

        Raises:
            ConfigError: a file cannot be decoded.
            RunError: a worker was killed, or there is no room for what it has read.
        """
        if self._side is not None:
            return one_ahead(self._batches(requests), self._side)
        return map(self._bring, self._batches(requests))

    def _batches(self, requests: Iterable[list[Request]]) -> Iterator[Tensor | EncodedBatch]:
        self._requests.upcoming = requests
        iterator = _begun(self._loader)
        if self._lasting and not self._held:
            self._held = True
            weakref.finalize(self, _let_go, iterator).atexit = False
        try:
            while True:
                with _workers_may_die(iterator):
                    batch = next(iterator, None)
                if batch is None:
                    return
                if isinstance(batch, Unreadable):
                    raise ConfigError(batch.problem)
                if isinstance(batch, NoRoom):
                    raise RunError(batch.problem)
                yield batch
        finally:
            del iterator  # a traceback would keep it, for the garbage collector: see `_let_go`


def _begun(loader: data.DataLoader[Any]) -> Iterator[Any]:
    """The loader's iterator, without torch's answer to the death of a worker.

    That is an exception wherever the main process is just then, in the writing of a checkpoint for one; who waits for
    the worker's batch notices anyhow.
    """
    before = signal.getsignal(signal.SIGCHLD)
    with _workers_may_die(loader._iterator):  # of the epoch before, if they are kept
        iterator = iter(loader)
    if loader.num_workers and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGCHLD, before)
    return iterator


@contextmanager
def _workers_may_die(iterator: Any) -> Iterator[None]:
    """Tell in a sentence what torch finds out in several ways.

    Args:
        iterator: whose workers they are; one without any, or None, has none that could die.

    Raises:
        RunError: a worker is gone.
    """
    try:
        yield
    except (RuntimeError, OSError, EOFError) as error:
        at_an_end = isinstance(error, ConnectionError | EOFError)  # of a worker that may not be seen as dead yet
        if not at_an_end and all(worker.is_alive() for worker in getattr(iterator, "_workers", ())):
            raise
        raise RunError(
            "A process that decodes images was killed; if nobody did that, the machine ran out of memory, of which "
            "fewer of them (runtime.num_workers) take less. The same command goes on from its last checkpoint."
        ) from error


class _Requests:
    """The batch sampler: hands on what `_PixelStream.read` was given, so that workers need no other news."""

    def __init__(self) -> None:
        self.upcoming: Iterable[list[Request]] = ()

    def __iter__(self) -> Iterator[list[Request]]:
        return iter(self.upcoming)


def _let_go(iterator: Iterator[object]) -> None:
    """Until the stream is gone, keep its workers' iterator out of the garbage collector's reach, and then do nothing.

    The collector would close the iterator's queues before the iterator itself, which then could not tell the workers
    to leave: it would wait ten seconds for each of them in vain. Counted down to no reference, it ends them properly.
    """
    del iterator


def _default_workers() -> int:
    # The cores this process may use: on a shared machine fewer than there are.
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, _MOST_WORKERS)


def _choose(split: LabelledFiles, positions: Tensor) -> LabelledFiles:
    return LabelledFiles([split.files[position] for position in positions.tolist()], split.labels[positions])
