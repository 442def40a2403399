#!/usr/bin/env python3
"""What the RL agent costs: ms a step of fixed-T KD and of RLKD in each kind of epoch, measured in one run.

    python scripts/cost.py [STEPS] [REPEATS] [OVERRIDE ...]

ResNet-56 -> ResNet-20, batch 64, images of CIFAR's shape (random: the cost does not depend on what they show). The
kinds of epoch are interleaved and repeated, every second time in the opposite order; each RLKD time is divided by the
fixed-T time of the same repeat. The last lines average over the schedule; by default that is 240 epochs: 19 of warm-up,
12 in which the agent learns (6 of them with mixed images), 209 in which it acts.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from typing import NamedTuple

import torch
from bench_parts.cases import one_run
from bench_parts.images import CLASSES
from bench_parts.measured import Project
from bench_parts.typed import at_least

from rlkd_run.agent import Agent
from rlkd_run.cli import exit_code
from rlkd_run.config.runconfig import RunConfig
from rlkd_run.device import describe
from rlkd_run.errors import ConfigError
from rlkd_run.training import Trainer

PAIR = "pair=resnet56-resnet20"
KINDS = {  # by whether the agent acts, learns, and does so on mixed images
    (False, False, False): "RLKD, warm-up",
    (True, False, False): "RLKD, agent acts",
    (True, True, False): "RLKD, agent learns",
    (True, True, True): "RLKD, agent learns on mixed images",
}
FIXED = "KD, fixed T"


class Kind(NamedTuple):
    """A kind of epoch: what runs, one epoch of its kind, and how many the schedule has."""

    temperature: str
    epoch: int
    count: int


def kinds_of(config: RunConfig) -> dict[str, Kind]:
    """The kinds of epoch in a schedule, as its agent tells them."""
    batch, epochs = config.recipe.batch_size, config.recipe.epochs
    agent = Agent(
        config.agent,
        num_images=batch,
        num_classes=CLASSES,
        batch_size=batch,
        steps_per_epoch=1,
        epochs=epochs,
        seed=0,
        device=torch.device("cpu"),
    )
    found: dict[str, list[int]] = {name: [] for name in KINDS.values()}
    for epoch in range(1, epochs + 1):
        mixes = agent.begin_epoch(epoch) is not None
        found[KINDS[agent.acting, agent.training, mixes]].append(epoch)
    kinds = {name: Kind("rlkd", of[len(of) // 2], len(of)) for name, of in found.items() if of}
    return {FIXED: Kind("fixed", (epochs + 1) // 2, 0), **kinds}


def make(steps: int, *overrides: str) -> Project:
    """A training of ResNet-56 -> ResNet-20 with `steps` steps an epoch."""
    config = one_run([PAIR, *overrides])
    return Project([PAIR, *overrides], steps * config.recipe.batch_size + config.probe_images, None)


def ms_per_step(trainer: Trainer, epoch: int) -> float:
    trainer.epoch = epoch - 1
    began = time.perf_counter()
    trainer.run_epoch(lambda: None)
    trainer.bad_step()  # waits for the device
    return (time.perf_counter() - began) / trainer.loader.steps_per_epoch * 1000


def over(kinds: dict[str, Kind], ratios: dict[str, float]) -> float:
    """How much longer than at a fixed temperature a step takes, in percent, as often as each kind of epoch comes."""
    count = sum(kind.count for kind in kinds.values())
    return 100 * (sum(kind.count * ratios[name] for name, kind in kinds.items()) / count - 1)


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
    configs = {name: one_run([PAIR, f"temperature={name}", *overrides]) for name in ("fixed", "rlkd")}
    if any(config.temperature.name != name for name, config in configs.items()):
        raise ConfigError("temperature=fixed and temperature=rlkd are held against each other; no override sets it.")
    config = configs["rlkd"]
    kinds = kinds_of(config)
    projects = {name: make(steps, f"temperature={name}", *overrides) for name in configs}
    trainers = {name: project.trainer for name, project in projects.items()}
    for temperature, trainer in trainers.items():  # warm up, and let every image have a score
        print(f"warm-up of {temperature}: {ms_per_step(trainer, 1):.1f} ms a step")
    for kind in kinds.values():
        # Each kind of step once, before the clock starts; where answers are kept, its views.
        if trainers[kind.temperature].captures or config.runtime.teacher_cache != "none":
            ms_per_step(trainers[kind.temperature], kind.epoch)
    times: dict[str, list[float]] = {name: [] for name in kinds}
    for repeat in range(repeats):
        for name in list(kinds)[:: 1 if repeat % 2 == 0 else -1]:  # nobody always comes first, or after the same one
            times[name].append(ms_per_step(trainers[kinds[name].temperature], kinds[name].epoch))
    base = times[FIXED]
    ratios = {name: statistics.median(a / b for a, b in zip(times[name], base, strict=True)) for name in kinds}
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
    print(f"averaged over the {config.recipe.epochs}-epoch schedule: {over(kinds, ratios):+.1f} %")
    learning = {name: kind for name, kind in kinds.items() if "learns" in name}
    if learning:
        print(f"in agent-training epochs:             {over(learning, ratios):+.1f} %")
    return 0


if __name__ == "__main__":
    sys.exit(exit_code(main))
