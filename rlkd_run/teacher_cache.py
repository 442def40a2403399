"""A teacher that is asked once for every view of an image (`runtime.teacher_cache`)."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from glob import escape
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from rlkd_run.answer_store import AnswerStore, weights_hash
from rlkd_run.config.identity import dataset_identity, short_hash
from rlkd_run.config.runconfig import RunConfig
from rlkd_run.data.dataset import Dataset, TrainLoader, fingerprint_of
from rlkd_run.data.transfer import Arrival, download, one_ahead, upload
from rlkd_run.errors import Interrupted, RunError
from rlkd_run.files import writing
from rlkd_run.interrupt import StopRequest
from rlkd_run.models.features import Network
from rlkd_run.models.folding import cast_once, folded
from rlkd_run.progress import is_drawn, progress
from rlkd_run.protocol import Batch, Needs, Outputs

# Views a step of the filling, and steps between two flushes. Large steps fill a GPU; the maps of small ones stay in a
# processor's caches.
_FILL = {"cpu": (64, 800), "cuda": (4096, 100)}


class Teacher(Protocol):
    """What answers a mini-batch.

    Attributes:
        on_device: whether it answers without anything of the host.
    """

    @property
    def on_device(self) -> bool:
        """See above."""
        ...

    def __call__(self, batch: Batch) -> Outputs:
        """The teacher's outputs, without gradient."""

    def end_epoch(self) -> None:
        """Called after the last step of an epoch."""

    def close(self) -> None:
        """Called when no more answers are wanted."""


class LiveTeacher:
    """The network itself.

    Args:
        network: with the features that the method needs.
    """

    on_device = True

    def __init__(self, network: Network) -> None:
        self.network = network

    @torch.no_grad()
    def __call__(self, batch: Batch) -> Outputs:
        """See `Teacher`."""
        return self.network(batch.images)

    def end_epoch(self) -> None:
        """Nothing to do."""

    def close(self) -> None:
        """Nothing to do."""


class CachedTeacher:
    """Rows of a store where they are known, the network where they are not, and for mixed images.

    What the network had to answer is written at the end of an epoch, so that no step waits for the device.

    Args:
        network: gives logits, and penultimate features if the method needs them.
        store: its answers.
        device: where the outputs are wanted.
        writes: whether this process holds the store's lock.
    """

    def __init__(self, network: Network, store: AnswerStore, device: torch.device, *, writes: bool) -> None:
        self.network = network
        self._store = store
        self._device = device
        self._writes = writes
        self._new: list[tuple[Tensor, dict[str, Tensor]]] = []
        self._complete = store.complete()
        fits = device.type == "cuda" and store.bytes() < 0.5 * torch.cuda.mem_get_info(device)[0]
        self._resident = store.on_device(device) if self._complete and fits else None

    @property
    def on_device(self) -> bool:
        """Whether the whole store lies there."""
        return self._resident is not None

    @torch.no_grad()
    def __call__(self, batch: Batch) -> Outputs:
        """See `Teacher`."""
        if batch.views is None:
            return self.network(batch.images)
        if self._resident is not None:
            return _outputs({name: rows[batch.views.device].float() for name, rows in self._resident.items()})
        keys = batch.views.host
        known = torch.ones(len(keys), dtype=torch.bool) if self._complete else self._store.known(keys)
        missing, found = (~known).nonzero().flatten(), known.nonzero().flatten()
        if len(missing) == 0:
            return _outputs({name: upload(rows, self._device) for name, rows in self._store.read(keys).items()})
        places = upload(missing, self._device)
        answers = self._store.as_read_back(_answers(self.network(batch.images[places])))
        if self._writes:
            self._new.append((keys[missing], answers))
        whole = {}
        for name, stored in self._store.read(keys[found]).items():
            whole[name] = answers[name].new_empty(len(keys), answers[name].shape[1])
            whole[name][places] = answers[name]
            whole[name][upload(found, self._device)] = upload(stored, self._device)
        return _outputs(whole)

    def end_epoch(self) -> None:
        """Write what is new. Waits for the device."""
        if self._new:
            if self._device.type == "cuda":  # runs side by side have computed them, each on a stream of its own
                torch.cuda.synchronize(self._device)
            for keys, answers in self._new:
                self._store.write(keys, {name: value.cpu() for name, value in answers.items()})
            self._new = []
            self._store.flush()
        elif not self._writes:
            self._store.refresh()

    def close(self) -> None:
        """Let another process write."""
        self._store.unlock()


def _answers(outputs: Outputs) -> dict[str, Tensor]:
    penultimate = {} if outputs.penultimate is None else {"penultimate": outputs.penultimate}
    return {"logits": outputs.logits, **penultimate}


def _outputs(rows: dict[str, Tensor]) -> Outputs:
    return Outputs(rows["logits"], rows.get("penultimate"))


def teacher_for(
    config: RunConfig,
    network: Network,
    loader: TrainLoader,
    dataset: Dataset,
    phase: Callable[[str], None] = lambda words: None,  # noqa: ARG005
) -> Teacher:
    """What answers the mini-batches of a run, as `runtime.teacher_cache` and `runtime.fold_teacher` ask.

    Rows are shared by every run with the same weights, the same training images and the same kind of views; the
    method, the student, the recipe and the seed play no part.

    Args:
        config: the run.
        network: the teacher with its weights, on its device.
        loader: of the training images.
        dataset: theirs.
        phase: told how far the asking of a full cache is.

    Raises:
        ConfigError: `runtime.cache_root` cannot be written, though not every answer is there.
        RunError: there is no room for the store.
    """
    runtime = config.runtime
    asked = network
    if runtime.fold_teacher:
        model = folded(network.model, dataset.image_shape, network.needs)
        if network.precision == "bf16":
            cast_once(model)
        asked = Network(model, network.needs, network.precision)
    device = next(network.model.parameters()).device
    if runtime.compile != "none":
        views_a_step, _ = _FILL[device.type]
        asked.compile(*{loader.batch_size, views_a_step} if runtime.teacher_cache == "full" else {loader.batch_size})
    if runtime.teacher_cache == "none":
        return LiveTeacher(asked)
    if not _can_be_kept(network.needs):
        print(f"teacher   asked anew in every step: method={config.method.name} reads its maps, which are not kept")
        return LiveTeacher(asked)
    if loader.num_views is None:
        print(f"teacher   asked anew in every step: dataset={config.dataset.name} has no finite number of views")
        return LiveTeacher(asked)
    store = _open(config, network, loader, dataset)
    writes = not store.complete() and store.lock(wait=runtime.teacher_cache == "full")
    if runtime.teacher_cache == "full":
        _fill(store, asked, loader, enabled=runtime.progress, phase=phase)
        store.unlock()
        writes = False
    return CachedTeacher(asked, store, device, writes=writes)


def _open(config: RunConfig, network: Network, loader: TrainLoader, dataset: Dataset) -> AnswerStore:
    assert loader.num_views is not None
    widths = {"logits": dataset.num_classes}
    if network.needs.penultimate:
        widths["penultimate"] = network.penultimate_width
    # TF32 is switched on for a whole process, its teacher included.
    tf32 = config.runtime.precision == "tf32" and network.precision == "fp32"
    facts = {
        "teacher": config.teacher.model,
        "weights": weights_hash(network.model),
        "dataset": dataset_identity(config),
        "images": loader.num_images,
        "views": loader.num_views,
        "widths": widths,
        "computed": "tf32" if tf32 else network.precision,
        "precision": config.runtime.teacher_cache_precision,
    }
    content = fingerprint_of(dataset)
    if content is not None:  # of published images the name says it all
        facts["content"] = content["train"]
    folder = Path(config.runtime.cache_root) / f"{_prefix(config)}{short_hash(facts)}"
    rows = loader.num_images * loader.num_views
    print(f"cache     {folder}", flush=True)
    with writing(f"runtime.cache_root={config.runtime.cache_root}"):
        return AnswerStore(folder, rows, widths, config.runtime.teacher_cache_precision, facts)


def _prefix(config: RunConfig) -> str:
    return f"{config.dataset.name}-{config.teacher.model}-"


def check_place(config: RunConfig, needs: Needs) -> None:
    """Try to write where the answers are going to be kept, which shows only after a teacher's training otherwise.

    The folder itself is not made yet; the nearest one above it that exists has to serve. Where there are answers of
    such a teacher, they may be these, and complete: then nothing is written.

    Raises:
        ConfigError: it cannot be written.
    """
    runtime = config.runtime
    root = Path(runtime.cache_root)
    if runtime.teacher_cache == "none" or not _can_be_kept(needs) or any(root.glob(f"{escape(_prefix(config))}*")):
        return
    with writing(f"runtime.cache_root={runtime.cache_root}"):
        place = next(folder for folder in (root, *root.parents) if folder.exists())
        with tempfile.TemporaryFile(dir=place):
            pass


def _can_be_kept(needs: Needs) -> bool:
    return not (needs.maps or needs.preactivations)


@torch.no_grad()
def _fill(
    store: AnswerStore, network: Network, loader: TrainLoader, *, enabled: bool, phase: Callable[[str], None]
) -> None:
    """Ask the network for every row that is not known; stopped, it goes on from there."""
    if store.complete():
        return
    device = next(network.model.parameters()).device
    size, flushed_after = _FILL[device.type]

    def unknown() -> Iterator[Tensor]:
        for start in progress(range(0, store.rows, size), "teacher's answers", enabled=enabled):
            keys = torch.arange(start, min(start + size, store.rows))
            if not store.known(keys).all():
                yield keys

    def ask(keys: Tensor) -> Arrival[tuple[Tensor, dict[str, Tensor]]]:
        answers = download(_answers(network(loader.images_of(keys))))
        return lambda: (keys, answers())

    told = 0  # percent
    with StopRequest() as stop:
        # One ahead, so that a GPU has the next views to answer while these are written.
        for done, (keys, answers) in enumerate(one_ahead(unknown(), ask), start=1):
            store.write(keys, answers)
            if stop.signal_number is not None:
                break
            if done % flushed_after == 0:
                store.flush()
            percent = 100 * (int(keys[-1]) + 1) // store.rows
            if percent > told:
                phase(f"asking the teacher {percent} %")
                if percent // 10 > told // 10 and not is_drawn(enabled):
                    print(f"cache     {percent} % of the teacher's answers", flush=True)
                told = percent
        store.flush()
        if stop.signal_number is not None:
            raise Interrupted(stop.signal_number)
    if not store.complete():
        raise RunError("Some of the teacher's answers are not finite, or beyond fp16: use runtime.teacher_cache=none.")
