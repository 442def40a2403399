#!/usr/bin/env python3
"""What every base method costs: ms a step with a fixed temperature, relative to plain KD, measured in one run.

    python scripts/method_cost.py [STEPS] [REPEATS]

ResNet-56 -> ResNet-20, batch 64, images of CIFAR's shape (random: the cost does not depend on what they show). The
methods are interleaved and repeated; each time is divided by KD's of the same repeat, and medians are printed.
"""

from __future__ import annotations

import argparse
import statistics
import sys

import torch
from bench_parts.typed import at_least
from cost import make, ms_per_step

import rlkd_run.config.builtin  # noqa: F401 - registers the names
from rlkd_run.cli import exit_code
from rlkd_run.config.registry import METHODS
from rlkd_run.methods.base import Method

EPOCH = 30  # past every warm-up


def own_parameters(method: Method) -> int:
    """Values that a method trains beside the student."""
    return sum(parameter.numel() for parameter in method.parameters() if parameter.requires_grad)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "steps", metavar="STEPS", nargs="?", type=at_least(1), default=8, help="of a measurement; 8 by default"
    )
    parser.add_argument(
        "repeats", metavar="REPEATS", nargs="?", type=at_least(1), default=5, help="of each method; 5 by default"
    )
    given = parser.parse_args()
    steps, repeats = given.steps, given.repeats
    projects = {name: make(steps, f"method={name}", "temperature=fixed") for name in METHODS}
    for project in projects.values():
        ms_per_step(project.trainer, EPOCH)
    times: dict[str, list[float]] = {name: [] for name in projects}
    for _ in range(repeats):
        for name, project in projects.items():
            times[name].append(ms_per_step(project.trainer, EPOCH))
    print(
        f"{repeats} interleaved repeats of {steps} steps, {torch.get_num_threads()} threads, torch {torch.__version__}"
    )
    print(f"{'':<12} {'ms a step':>9}  {'over KD':>8}  {'least':>6}  {'most':>6}  {'own parameters':>14}")
    for name, values in times.items():
        ratios = [a / b for a, b in zip(values, times["kd"], strict=True)]
        over = " ".join(f"{100 * (ratio - 1):+7.1f}" for ratio in (statistics.median(ratios), min(ratios), max(ratios)))
        own = own_parameters(projects[name].objective.method)
        print(f"{name:<12} {statistics.median(values):9.1f}  {over} %  {own:14,}")
    return 0


if __name__ == "__main__":
    sys.exit(exit_code(main))
