#!/usr/bin/env python3
"""What the RL agent costs: ms a step of fixed-T KD and of RLKD in each kind of epoch, measured in one run.

    python scripts/cost.py [STEPS] [REPEATS] [OVERRIDE ...]

ResNet-56 -> ResNet-20, batch 64, images of CIFAR's shape (random: the cost does not depend on what they show). The
kinds of epoch are interleaved and repeated, every second time in the opposite order; each RLKD time is divided by the
fixed-T time of the same repeat. The last lines average over the 240-epoch schedule: 19 epochs of warm-up, 12 in which
the agent learns (6 of them with mixed images), 209 in which it acts.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from dataclasses import replace
from typing import NamedTuple

import torch
from bench_parts.cases import one_run
from bench_parts.typed import at_least

from rlkd_run import teachers
from rlkd_run.capture import recorder_for
from rlkd_run.cli import exit_code
from rlkd_run.data.dataset import Loading
from rlkd_run.data.resident import RawImages, ResidentDataset
from rlkd_run.device import channels_last, describe, prepare
from rlkd_run.experiment import build
from rlkd_run.schedule import Schedule
from rlkd_run.teacher_cache import teacher_for
from rlkd_run.training import Trainer

CLASSES, BATCH = 100, 64


class Kind(NamedTuple):
    """A kind of epoch: what runs, one epoch of its kind, and how many the 240-epoch schedule has."""

    temperature: str
    epoch: int
    count: int


KINDS = {
    "KD, fixed T": Kind("fixed", 21, 0),
    "RLKD, warm-up": Kind("rlkd", 19, 19),
    "RLKD, agent acts": Kind("rlkd", 21, 209),
    "RLKD, agent learns": Kind("rlkd", 220, 6),
    "RLKD, agent learns on mixed images": Kind("rlkd", 20, 6),
}


def make(steps: int, *overrides: str) -> Trainer:
    """A trainer of ResNet-56 -> ResNet-20 with `steps` steps an epoch."""
    config = one_run(["pair=resnet56-resnet20", *overrides])
    device = prepare(config.runtime)
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (steps * BATCH, 32, 32, 3), dtype=torch.uint8, generator=generator)
    labels = torch.arange(steps * BATCH) % CLASSES
    raw = RawImages(images, labels, images[:CLASSES], labels[:CLASSES], [str(label) for label in range(CLASSES)])
    loading = Loading(device, channels_last=channels_last(config.runtime, device))
    dataset = ResidentDataset(replace(config.dataset), raw, loading)
    objective = build(config, dataset, teachers.build(config, dataset, device), device)
    loader = dataset.train_batches(BATCH, 0)
    objective.answers = teacher_for(config, objective.teacher, loader, dataset)
    recorder = recorder_for(config.runtime, device)
    return Trainer(objective, loader, Schedule.of(config.recipe), device, recorder=recorder)


def ms_per_step(trainer: Trainer, epoch: int) -> float:
    trainer.epoch = epoch - 1
    began = time.perf_counter()
    trainer.run_epoch(lambda: None)
    trainer.bad_step()  # waits for the device
    return (time.perf_counter() - began) / trainer.loader.steps_per_epoch * 1000


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "steps", metavar="STEPS", nargs="?", type=at_least(2), default=48, help="of a measurement; 48 by default"
    )
    parser.add_argument(
        "repeats", metavar="REPEATS", nargs="?", type=at_least(1), default=5, help="of each kind; 5 by default"
    )
    parser.add_argument("overrides", metavar="OVERRIDE", nargs="*", help="of the command, e.g. runtime.precision=bf16")
    given = parser.parse_args()
    steps, repeats, overrides = given.steps, given.repeats, given.overrides
    trainers = {name: make(steps, f"temperature={name}", *overrides) for name in ("fixed", "rlkd")}
    for temperature, trainer in trainers.items():  # warm up, and let every image have a score
        print(f"warm-up of {temperature}: {ms_per_step(trainer, 1):.1f} ms a step")
    for kind in KINDS.values():
        if trainers[kind.temperature].captures:  # each kind of step once, before the clock starts
            ms_per_step(trainers[kind.temperature], kind.epoch)
    times: dict[str, list[float]] = {name: [] for name in KINDS}
    for repeat in range(repeats):
        for name in list(KINDS)[:: 1 if repeat % 2 == 0 else -1]:  # nobody always comes first, or after the same one
            times[name].append(ms_per_step(trainers[KINDS[name].temperature], KINDS[name].epoch))
    base = times["KD, fixed T"]
    ratios = {name: statistics.median(a / b for a, b in zip(times[name], base, strict=True)) for name in KINDS}
    print(
        f"\n{repeats} interleaved repeats of {steps} steps, {torch.get_num_threads()} threads, "
        f"torch {torch.__version__}"
    )
    device = trainers["fixed"].device
    print(f"{describe(device)['device']} {' '.join(overrides)}")
    digits = 1 if device.type == "cpu" else 3
    print(f"{'':<36} {'ms a step':>9}  {'least':>7}  {'most':>7}  {'over fixed T':>12}")
    for name, values in times.items():
        print(
            f"{name:<36} {statistics.median(values):9.{digits}f}  {min(values):7.{digits}f}  "
            f"{max(values):7.{digits}f}  {100 * (ratios[name] - 1):+11.1f} %"
        )
    whole = sum(kind.count * ratios[name] for name, kind in KINDS.items()) / 240
    learning = [name for name in KINDS if "learns" in name]
    print(f"averaged over the 240-epoch schedule: {100 * (whole - 1):+.1f} %")
    print(f"in agent-training epochs:             {100 * (statistics.mean(ratios[n] for n in learning) - 1):+.1f} %")
    return 0


if __name__ == "__main__":
    sys.exit(exit_code(main))
