"""What is measured, in a process of its own: this project's training, or the reference loop, on the same images."""

from __future__ import annotations

import gc
import tempfile
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

import torch

from bench_parts import memory, roofline
from bench_parts.images import raw_images
from bench_parts.kernels import profile
from bench_parts.spans import REST, Called, Spans, patched
from rlkd_run import teachers
from rlkd_run.assembly import give_answers, trainer_for
from rlkd_run.config.composition import compose_command
from rlkd_run.data.dataset import Loading
from rlkd_run.data.resident import ResidentDataset
from rlkd_run.device import channels_last, choose, describe, prepare
from rlkd_run.experiment import build
from rlkd_run.models.build import build_model
from rlkd_run.teacher_cache import CachedTeacher, teacher_for


class Measured:
    """A training that can be run for some steps, whole and in parts.

    Subclasses set `device`.
    """

    device: torch.device

    def wait(self) -> None:
        """Wait for the device."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def train(self, number: int, epoch: int, after_step: Callable[[int], None]) -> None:
        """Train the last `number` steps of an epoch.

        Args:
            number: of steps, at most an epoch's.
            epoch: from 1.
            after_step: called after each with the number of its images.
        """
        raise NotImplementedError

    def in_parts(self, spans: Spans) -> AbstractContextManager[None]:
        """Time the parts of the steps taken inside."""
        raise NotImplementedError

    def networks(self) -> tuple[torch.nn.Module | None, torch.nn.Module]:
        """Teacher, None where a warm cache answers for it, and student."""
        raise NotImplementedError

    def run(self, number: int, epoch: int) -> dict[str, float]:
        """Time `number` steps, at least 2, without instruments.

        The first step is timed apart, because it carries what an epoch does once (shuffling, plans, workers). A
        full garbage collection, which Python does once in some thousand steps and which takes as long as one or two
        of them, is done before: in a few steps it would weigh too much.
        """
        gc.collect()
        clock = _Clock(self.wait)
        self.train(number, epoch, clock.after_step)
        return clock.read(number)

    def split(self, number: int, epoch: int) -> dict[str, float]:
        """Milliseconds a step by part; their sum is the instrumented step, a little longer than the real one."""
        spans = Spans(self.wait)
        gc.collect()
        self.wait()
        began = time.perf_counter()
        with self.in_parts(spans):
            self.train(number, epoch, _nothing)
        self.wait()
        parts = {part: 1000 * seconds / number for part, seconds in spans.seconds.items()}
        whole = 1000 * (time.perf_counter() - began) / number
        return {**parts, REST: whole - sum(parts.values())}

    def kernels(self, number: int, epoch: int) -> dict[str, float] | None:
        """See `bench_parts.kernels.profile`; None on a CPU."""
        if self.device.type != "cuda":
            return None

        def run() -> None:
            self.train(number, epoch, _nothing)
            self.wait()

        return profile(run, number)

    def memory(self) -> dict[str, float]:
        """Peaks so far and what is held now, in MiB."""
        now = {"peak_mib": memory.peak_resident(), "resident_mib": memory.resident(), "helpers_mib": memory.helpers()}
        return {**now, **memory.on_device(self.device)}

    def precisions(self) -> tuple[str, str]:
        """What teacher and student compute in: fp32, tf32 (where cuDNN may) or bf16."""
        own = "tf32" if self.device.type == "cuda" and torch.backends.cudnn.allow_tf32 else "fp32"
        return own, own

    def work(self, batch: int) -> dict[str, Any]:
        """See `roofline.work`."""
        return roofline.work(*self.networks(), (3, 32, 32), batch, self.precisions())

    def rates(self, quick: bool) -> dict[str, Any]:
        """See `roofline.rates`. Ask for memory before: this takes a lot of it."""
        return roofline.rates(self.device, self.wait, sorted(set(self.precisions())), quick=quick)

    def facts(self) -> dict[str, Any]:
        """Device, threads and torch's build."""
        return {
            "threads": torch.get_num_threads(),
            "cuda": torch.version.cuda,
            "cudnn": torch.backends.cudnn.version() if self.device.type == "cuda" else None,
            **describe(self.device),
        }


class Project(Measured):
    """This project's training.

    Args:
        overrides: as typed to `rlkd-run`.
        images: in the training set.
        data: folder of CIFAR-100; None: random images.
        answers: folder for the teacher's answers, if the overrides keep them; None: one that lives as long as this.
    """

    def __init__(self, overrides: list[str], images: int, data: str | None, answers: str | None = None) -> None:
        (config,) = compose_command(overrides).runs
        self.device = prepare(config.runtime)
        dataset = ResidentDataset(
            config.dataset,
            raw_images(images, config.dataset, data),
            Loading(
                self.device,
                channels_last=channels_last(config.runtime, self.device),
                probe_images=config.probe_images,
            ),
        )
        torch.manual_seed(0)
        teacher = teachers.build(config, dataset, self.device)
        self.objective = build(config, dataset, teacher, self.device)
        loader = dataset.train_batches(config.recipe.batch_size, 0)
        if config.runtime.teacher_cache != "none":
            if answers is None:
                self._own = tempfile.TemporaryDirectory(prefix="rlkd-run-bench-")
                answers = self._own.name
            config = replace(config, runtime=replace(config.runtime, cache_root=answers))
        self.config = config
        self.trainer = trainer_for(self.objective, loader, config.recipe, config.runtime, self.device)
        give_answers(config, self.objective, teacher_for(config, self.objective.teacher, loader, dataset))

    def networks(self) -> tuple[torch.nn.Module | None, torch.nn.Module]:
        """See `Measured`."""
        answers = self.objective.answers
        return None if isinstance(answers, CachedTeacher) else answers.network.model, self.objective.model

    def precisions(self) -> tuple[str, str]:
        """See `Measured`."""
        both = zip((self.objective.teacher, self.objective.student), super().precisions(), strict=True)
        teacher, student = (network.precision if network.precision == "bf16" else own for network, own in both)
        return teacher, student

    def train(self, number: int, epoch: int, after_step: Callable[[int], None]) -> None:
        """See `Measured`; the epoch is entered near its end, as after an interruption."""
        trainer, loader = self.trainer, self.trainer.loader
        trainer.epoch, trainer.step = epoch - 1, loader.steps_per_epoch - number
        trainer.meter.reset()
        seen = 0

        def count() -> None:
            nonlocal seen
            size, seen = trainer.meter.images - seen, trainer.meter.images
            after_step(size)

        trainer.run_epoch(count)

    def in_parts(self, spans: Spans) -> AbstractContextManager[None]:
        """See `Measured`."""
        objective, trainer = self.objective, self.trainer
        policy, method = objective.policy, objective.method
        calls = [
            (objective, "answers", lambda old: Called(old, spans.timed("teacher", old))),
            (objective, "student", lambda old: Called(old, spans.timed("student forward", old))),
            (trainer.loader, "epoch", spans.timed_batches),
            (torch.Tensor, "backward", _timer(spans, "backward")),
        ]
        for part, owner, names in (
            ("optimiser", trainer.optimizer, ("step", "zero_grad")),
            ("policy", policy, ("begin_epoch", "temperatures", "observe", "end_epoch")),
            ("loss", method, ("forward", "teacher_logits", "student_logits")),
            ("meters", trainer, ("_note",)),
        ):
            calls += [(owner, name, _timer(spans, part)) for name in names]
        # A captured step has no parts: it is taken apart as it is without. What is captured goes on afterwards, and
        # reads the learning rate where it is now.
        calls += [(trainer, name, lambda old: None) for name in ("_recorder", "captured")]  # noqa: ARG005
        calls.append((trainer, "set_lr", lambda old: _nothing))  # noqa: ARG005
        return patched(*calls)


class Reference(Measured):
    """The plain loop of scripts/reference_loop.py, with the networks that the same overrides name.

    Args:
        overrides, images, data: as `Project`; the batch size and the networks are taken from the overrides.
        agent: whether an agent sets the temperatures, from the epoch on in which the project's begins to act.
    """

    def __init__(self, overrides: list[str], images: int, data: str | None, agent: bool) -> None:
        from reference_loop import InstanceAgent, ReferenceLoop  # torchvision: not for the other processes' memory

        (config,) = compose_command(overrides).runs
        self.device = choose(config.runtime)  # nothing else of what this project prepares, which is part of its speed
        if config.runtime.num_threads is not None:
            torch.set_num_threads(config.runtime.num_threads)
        torch.backends.cudnn.benchmark = True
        raw = raw_images(images, config.dataset, data)
        torch.manual_seed(0)
        teacher, student = (
            build_model(role.source, role.model, len(raw.class_names)).to(self.device)
            for role in (config.teacher, config.student)
        )
        self.agent = InstanceAgent(self.device) if agent else None
        self.acts_from, self.train_every = config.agent.warmup_epochs, config.agent.train_every
        self.loop = ReferenceLoop(
            teacher,
            student,
            raw.train_images.contiguous().numpy(),
            raw.train_labels.tolist(),
            config.recipe.batch_size,
            self.agent,
            self.device,
        )

    def networks(self) -> tuple[torch.nn.Module, torch.nn.Module]:
        """See `Measured`."""
        return self.loop.teacher, self.loop.student

    def train(self, number: int, epoch: int, after_step: Callable[[int], None]) -> None:
        """See `Measured`."""
        self.loop.agent = self.agent if epoch >= self.acts_from else None
        for _ in self.loop.run(number, learns=epoch % self.train_every == 0):
            after_step(self.loop.batch_size)

    def in_parts(self, spans: Spans) -> AbstractContextManager[None]:
        """See `Measured`."""
        loop, agent = self.loop, self.loop.agent
        calls = [(loop, "batches", spans.timed_batches), (torch.Tensor, "backward", _timer(spans, "backward"))]
        for part, owner, names in (
            ("teacher", loop.teacher, ("forward",)),
            ("student forward", loop.student, ("forward",)),
            ("optimiser", loop.optimizer, ("step", "zero_grad")),
            ("policy", agent, ("act", "learn")),
            ("loss", loop, ("losses",)),
            ("meters", loop, ("record",)),
        ):
            calls += [(owner, name, _timer(spans, part)) for name in names]
        return patched(*calls)


def _timer(spans: Spans, part: str) -> Callable[[Any], Any]:
    return lambda old: spans.timed(part, old)


def _nothing(_images: int) -> None:
    pass


class _Clock:
    """Times steps, the first of them apart."""

    def __init__(self, wait: Callable[[], None]) -> None:
        self._wait = wait
        wait()
        self._began = time.perf_counter()
        self._first: float | None = None
        self._processor = 0.0
        self._images = 0

    def after_step(self, images: int) -> None:
        if self._first is None:
            self._wait()
            self._first, self._processor = time.perf_counter(), time.process_time()
        else:
            self._images += images

    def read(self, number: int) -> dict[str, float]:
        """See `Measured.run`."""
        self._wait()
        assert self._first is not None
        assert number > 1
        seconds, processor = time.perf_counter() - self._first, time.process_time() - self._processor
        each = seconds / (number - 1)
        return {
            "ms_per_step": 1000 * each,
            "images_per_second": self._images / seconds,
            "epoch_start_ms": 1000 * (self._first - self._began - each),
            "processor_ms_per_step": 1000 * processor / (number - 1),
        }
