#!/usr/bin/env python3
"""Which limits a run on image files, the loader or the step: each measured apart, and both together.

    python scripts/image_cost.py FOLDER [STEPS] [REPEATS] [OVERRIDE ...]

FOLDER has train/ and val/ with a folder of images for each class. The pair is resnet34_imagenet -> resnet18_imagenet
unless overrides say otherwise; images/s are medians of interleaved repeats, with the loader's first batch left out.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Iterator
from itertools import islice, repeat

from bench_parts.cases import one_run
from bench_parts.typed import at_least

from rlkd_run import teachers
from rlkd_run.assembly import give_answers, trainer_for
from rlkd_run.cli import exit_code
from rlkd_run.data.dataset import TrainLoader
from rlkd_run.device import prepare
from rlkd_run.errors import ConfigError
from rlkd_run.experiment import build, open_data
from rlkd_run.protocol import Batch, MixPlan
from rlkd_run.teacher_cache import teacher_for

PAIR = ["teacher=resnet34_imagenet", "student=resnet18_imagenet", "temperature=fixed", "recipe.batch_size=32"]


class Source:
    """A loader whose epochs give other batches.

    Args:
        loader: says everything else.
        steps: batches an epoch.
        batch: given at every step, so that only the step takes time; None: what the loader gives.
    """

    def __init__(self, loader: TrainLoader, steps: int, batch: Batch | None = None) -> None:
        self.loader, self.steps_per_epoch, self.batch = loader, steps, batch
        self.batch_size, self.num_images = loader.batch_size, loader.num_images

    def epoch(self, epoch: int, mix: MixPlan | None = None, start_step: int = 0) -> Iterator[Batch]:
        """As `TrainLoader.epoch`."""
        if self.batch is not None:
            return repeat(self.batch, self.steps_per_epoch)
        return islice(self.loader.epoch(epoch, mix, start_step), self.steps_per_epoch)


def per_second(ends: list[float], batch_size: int) -> float:
    """Images a second of all batches but the first, at whose end the clock starts."""
    return batch_size * (len(ends) - 1) / (ends[-1] - ends[0])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", metavar="FOLDER", help="with train/ and val/")
    parser.add_argument(
        "steps", metavar="STEPS", nargs="?", type=at_least(2), default=8, help="of a measurement; 8 by default"
    )
    parser.add_argument(
        "repeats", metavar="REPEATS", nargs="?", type=at_least(1), default=3, help="of each; 3 by default"
    )
    parser.add_argument("overrides", metavar="OVERRIDE", nargs="*", help="of the command, e.g. runtime.precision=bf16")
    given = parser.parse_args()
    folder, steps, repeats = given.folder, given.steps, given.repeats
    overrides = ["dataset=folder", f"dataset.root={folder}", *PAIR, *given.overrides]
    config = one_run(overrides)
    device = prepare(config.runtime)
    dataset = open_data(config, device)
    size = config.recipe.batch_size
    loader = dataset.train_batches(size, 0)
    if loader.steps_per_epoch < steps:
        raise ConfigError(f"{folder} has {loader.num_images} training images: too few for {steps} steps of {size}.")
    objective = build(config, dataset, teachers.build(config, dataset, device), device)
    trainer = trainer_for(objective, loader, config.recipe, config.runtime, device)
    give_answers(config, objective, teacher_for(config, objective.teacher, loader, dataset))

    def train(source: Source) -> float:
        trainer.loader = source  # type: ignore[assignment]
        ends: list[float] = []

        def after_step() -> None:
            trainer.bad_step()  # waits for the device
            ends.append(time.perf_counter())

        trainer.run_epoch(after_step)
        return per_second(ends, size)

    def load() -> float:
        # A whole epoch: of the first batches some lie ready before they are asked for.
        return per_second([time.perf_counter() for _ in loader.epoch(1)], size)

    batch = next(loader.epoch(1))
    found: dict[str, list[float]] = {"loader alone": [], "step alone": [], "both": []}
    for _ in range(repeats):
        found["loader alone"].append(load())
        found["step alone"].append(train(Source(loader, steps, batch)))
        found["both"].append(train(Source(loader, steps)))
    print(
        f"{config.teacher.model} -> {config.student.model}, {config.dataset.image_size} pixels, batch {size}, {device}"
    )
    for name, values in found.items():
        print(f"{name:<14} {statistics.median(values):8.1f} images/s  ({min(values):.1f} to {max(values):.1f})")
    limit = min(("loader alone", "step alone"), key=lambda name: statistics.median(found[name]))
    print(f"the limit is the {limit.split()[0]}")
    return 0


if __name__ == "__main__":
    sys.exit(exit_code(main))
