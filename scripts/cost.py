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
import time
from typing import NamedTuple

import torch
from bench_parts.measured import Project

from rlkd_run.device import describe

BATCH = 64


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


def make(steps: int, *overrides: str) -> Project:
    """ResNet-56 -> ResNet-20 with `steps` steps an epoch."""
    return Project(["pair=resnet56-resnet20", f"recipe.batch_size={BATCH}", *overrides], steps * BATCH, None)


def ms_per_step(project: Project, epoch: int) -> float:
    trainer = project.trainer
    trainer.epoch = epoch - 1
    began = time.perf_counter()
    trainer.run_epoch(lambda: None)
    project.wait()
    return (time.perf_counter() - began) / trainer.loader.steps_per_epoch * 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "steps", metavar="STEPS", nargs="?", type=int, default=48, help="of a measurement; 48 by default"
    )
    parser.add_argument("repeats", metavar="REPEATS", nargs="?", type=int, default=5, help="of each kind; 5 by default")
    parser.add_argument("overrides", metavar="OVERRIDE", nargs="*", help="of the command, e.g. runtime.precision=bf16")
    given = parser.parse_args()
    steps, repeats, overrides = given.steps, given.repeats, given.overrides
    projects = {name: make(steps, f"temperature={name}", *overrides) for name in ("fixed", "rlkd")}
    for temperature, project in projects.items():  # warm up, and let every image have a score
        print(f"warm-up of {temperature}: {ms_per_step(project, 1):.1f} ms a step")
    for kind in KINDS.values():
        if projects[kind.temperature].trainer.captures:  # each kind of step once, before the clock starts
            ms_per_step(projects[kind.temperature], kind.epoch)
    times: dict[str, list[float]] = {name: [] for name in KINDS}
    for repeat in range(repeats):
        for name in list(KINDS)[:: 1 if repeat % 2 == 0 else -1]:  # nobody always comes first, or after the same one
            times[name].append(ms_per_step(projects[KINDS[name].temperature], KINDS[name].epoch))
    base = times["KD, fixed T"]
    ratios = {name: statistics.median(a / b for a, b in zip(times[name], base, strict=True)) for name in KINDS}
    print(
        f"\n{repeats} interleaved repeats of {steps} steps, {torch.get_num_threads()} threads, "
        f"torch {torch.__version__}"
    )
    device = projects["fixed"].device
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


if __name__ == "__main__":
    main()
