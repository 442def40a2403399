#!/usr/bin/env python3
"""What the options of a step are worth on a GPU: ms a step, kernels, busy time; all in one process.

    python scripts/gpu_steps.py
    python scripts/gpu_steps.py --pair vgg13-vgg8 --steps 200 --only warm

Each variant is RLKD with the agent acting (epoch 21 of 240), captured; "warm" ones read kept answers (random numbers
in their place) from the device, "live" ones ask the teacher. After that come rounds of several runs side by side
(`runtime.cohort`; a round is a step of each, and "host" is how long it takes to ask for one), the training of the
teacher, which knows the variants in fp32 only, and how fast a teacher answers all views of a full cache. Variants
follow one another and are not interleaved: a GPU of one's own is steady enough. All of them take longer than an hour,
as each that is compiled takes a minute. Variants are fp32, tf32 or bf16, alone or followed by ", branches",
", any kernels", ", compiled" and so on; a wrong one is answered with all there are.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any

import torch
from bench_parts import measured
from bench_parts.cases import one_run, pair_of
from bench_parts.images import raw_images
from bench_parts.measured import Project
from bench_parts.tables import table
from bench_parts.typed import at_least

from rlkd_run import teachers
from rlkd_run.cli import exit_code
from rlkd_run.data.resident import RawImages
from rlkd_run.device import describe, prepare
from rlkd_run.models.features import Network
from rlkd_run.objectives import Supervised
from rlkd_run.protocol import Batch, Outputs
from rlkd_run.teacher_cache import LiveTeacher
from rlkd_run.training import Trainer

EPOCH = 21
PRECISION: dict[str, tuple[str, ...]] = {
    "fp32": (),
    "tf32": ("runtime.precision=tf32",),
    "bf16": ("runtime.precision=bf16", "runtime.teacher_precision=bf16"),
}
BESIDES = {
    "branches": ("runtime.branches=true",),
    "any kernels": ("runtime.deterministic=false",),
    "branches, any kernels": ("runtime.branches=true", "runtime.deterministic=false"),
    "compiled": ("runtime.compile=all",),
    "compiled, branches": ("runtime.compile=all", "runtime.branches=true"),
    "compiled, branches, any kernels": (
        "runtime.compile=all",
        "runtime.branches=true",
        "runtime.deterministic=false",
    ),
}
VARIANTS: dict[str, tuple[str, ...]] = {
    **PRECISION,
    **{f"{one}, {name}": (*PRECISION[one], *more) for name, more in BESIDES.items() for one in PRECISION},
    "fp32, NHWC": ("runtime.channels_last=true",),
}
MEMBERS = (1, 2, 3, 5)


class Kept:
    """Answers that lie on the device, in place of a teacher's."""

    on_device = True

    def __init__(self, rows: int, classes: int, device: torch.device) -> None:
        self.rows = torch.randn(rows, classes, device=device)

    def __call__(self, batch: Batch) -> Outputs:
        assert batch.views is not None
        return Outputs(self.rows[batch.views.device])

    def end_epoch(self) -> None:
        pass

    def close(self) -> None:
        pass


class Bench:
    """Makes trainings of a pair on the same images."""

    def __init__(self, given: argparse.Namespace) -> None:
        self.given = given
        teacher, student = pair_of(given.pair)
        self.pair = (f"teacher={teacher}", f"student={student}", f"recipe.batch_size={given.batch}")
        self._kept: Kept | None = None

    def project(self, *overrides: str, warm: bool = False) -> Project:
        """A training; the switches of the process are set as it wants them."""
        torch.set_deterministic_debug_mode("default")
        project = Project([*self.pair, *overrides], self.given.images, None)
        if warm:
            loader = project.trainer.loader
            self._kept = self._kept or Kept(loader.num_images * (loader.num_views or 1), 100, project.device)
            project.objective.answers = self._kept
        return project

    def row(self, name: str, project: Project) -> list[str]:
        """A line of the table."""
        steps = self.given.steps
        project.run(min(12, steps), EPOCH)  # kinds of steps are captured the fourth time they come
        times = [project.run(steps, EPOCH)["ms_per_step"] for _ in range(self.given.repeats)]
        seen = project.kernels(min(12, steps), EPOCH) or {"kernels_per_step": 0, "busy_ms_per_step": 0}
        middle = statistics.median(times)
        figures = [f"{middle:.3f}", f"{min(times):.3f}", f"{max(times):.3f}"]
        return _told([name, *figures, f"{seen['kernels_per_step']:.0f}", f"{seen['busy_ms_per_step']:.3f}"])

    def teacher_training(self, *overrides: str) -> Project:
        """The training of the pair's teacher."""
        project = self.project(*overrides)
        network = Network(project.objective.teacher.model.requires_grad_(True))
        objective = Supervised(network, project.objective.beside)
        project.trainer = teachers.training(project.config, objective, project.trainer.loader, project.device)
        return project

    def rounds(self, variant: str) -> list[str]:
        """A line of the table: rounds of ever more runs side by side."""
        return _told([variant, *(self._round(variant, members) for members in MEMBERS)])

    def _round(self, variant: str, members: int) -> str:
        """Milliseconds of a round, and of asking for one."""
        several = [self.project(*VARIANTS[variant], f"seed={seed}", warm=True) for seed in range(members)]
        device = several[0].device
        streams = [torch.cuda.Stream(device) if device.type == "cuda" else None for _ in several]
        least = asked = float("inf")
        for repeat in range(self.given.repeats + 1):
            steps = [self._steps(project.trainer, self.given.steps) for project in several]
            several[0].wait()
            began = time.perf_counter()
            for _ in range(self.given.steps):
                for stream, one in zip(streams, steps, strict=True):
                    with nullcontext() if stream is None else torch.cuda.stream(stream):
                        next(one)
            host = time.perf_counter() - began
            several[0].wait()
            if repeat:
                asked = min(asked, host / self.given.steps)
                least = min(least, (time.perf_counter() - began) / self.given.steps)
        return f"{1000 * least:.3f} (host {1000 * asked:.3f})"

    @staticmethod
    def _steps(trainer: Trainer, number: int) -> Iterator[None]:
        trainer.epoch, trainer.step = EPOCH - 1, trainer.loader.steps_per_epoch - number
        trainer.meter.reset()
        return trainer.steps()

    @torch.no_grad()
    def answers(self, precision: str) -> float:
        """Views a second that the teacher answers, folded, in batches of a cache's filling."""
        project = self.project(*PRECISION[precision])
        live = project.objective.answers
        assert isinstance(live, LiveTeacher)
        keys = torch.arange(self.given.fill)
        seconds = []
        for _ in range(4):
            project.wait()
            began = time.perf_counter()
            live.network(project.trainer.loader.images_of(keys))
            project.wait()
            seconds.append(time.perf_counter() - began)
        return len(keys) / min(seconds)


def _told(row: list[str]) -> list[str]:
    """The same line, said at once: the table comes when all of them are there, and a GPU may be gone before."""
    print(" | ".join(row), file=sys.stderr, flush=True)
    return row


_IMAGES: dict[int, RawImages] = {}


def same_images(count: int, options: Any, root: str | None) -> RawImages:
    """`raw_images`, made once for all trainings."""
    if count not in _IMAGES:
        _IMAGES[count] = raw_images(count, options, root)
    return _IMAGES[count]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pair", default="resnet56-resnet20", metavar="TEACHER-STUDENT")
    parser.add_argument("--batch", type=at_least(1), default=64)
    parser.add_argument("--images", type=at_least(1), default=49_984)
    parser.add_argument("--steps", type=at_least(2), default=100)
    parser.add_argument("--repeats", type=at_least(1), default=3)
    parser.add_argument("--only", nargs="+", choices=("warm", "live", "cohort", "teacher", "answers"))
    parser.add_argument("--variants", nargs="+", choices=tuple(VARIANTS), default=list(VARIANTS), metavar="VARIANT")
    given = parser.parse_args()
    given.teachers = [name for name in given.variants if name.startswith("fp32")]
    if "teacher" in (given.only or ()) and not given.teachers:
        parser.error("--only teacher: a teacher is always trained in fp32, and none of the --variants is")
    if given.images < given.batch * given.steps:
        parser.error(f"--images {given.images} is less than --steps {given.steps} of --batch {given.batch}")
    given.fill = 4096 if torch.cuda.is_available() else 64
    return given


def main() -> int:
    given = arguments()
    measured.raw_images = same_images
    bench = Bench(given)
    config = one_run(bench.pair)
    device = describe(prepare(config.runtime))["device"]
    print(f"{device}, torch {torch.__version__}, {given.pair}, {given.steps} steps\n")
    head = ["", "ms a step", "least", "most", "kernels", "busy ms"]
    wanted = given.only or ("warm", "live", "cohort", "teacher", "answers")
    if "warm" in wanted:
        rows = [bench.row(name, bench.project(*VARIANTS[name], warm=True)) for name in given.variants]
        rows.append(bench.row("fp32, fixed T", bench.project("temperature=fixed", warm=True)))
        print(f"Warm\n\n{table(head, rows)}\n", flush=True)
    if "live" in wanted:
        rows = [bench.row(name, bench.project(*VARIANTS[name])) for name in given.variants]
        print(f"Live\n\n{table(head, rows)}\n", flush=True)
    if "teacher" in wanted and given.teachers:
        rows = [bench.row(name, bench.teacher_training(*VARIANTS[name])) for name in given.teachers]
        print(f"The teacher's own training\n\n{table(head, rows)}\n", flush=True)
    if "cohort" in wanted:
        rows = [bench.rounds(name) for name in given.variants]
        print(f"Rounds of several runs, ms\n\n{table(['', *map(str, MEMBERS)], rows)}\n", flush=True)
    if "answers" in wanted:
        rows = [[one, f"{bench.answers(one):.0f}"] for one in PRECISION]
        print(f"Views a second\n\n{table(['', 'views'], rows)}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(exit_code(main))
