#!/usr/bin/env python3
"""Whether a step slows down with the size of the data set or the number of the epoch, and whether memory grows.

    python scripts/growth.py
    python scripts/growth.py --pair vgg13-vgg8 --sizes 2000 10000 50000 --epochs 20 --json growth.json

Images are random and of CIFAR's shape. Sizes take turns, repeat by repeat, each with the last steps of an epoch in
which RLKD's agent acts; what an epoch does once (shuffling, for example) is shown apart, because it may grow with the
data.
Then whole epochs of the smallest data set are run one after the other, with numbers spread over the recipe, rising and
falling again, so that a machine that becomes slower meanwhile does not look like epochs that do; memory is looked at
after each. A slope is Theil and Sen's (the median of the slopes of all pairs), which single disturbances do
not move; it is given in percent of the median over the whole range, beside the spread of the values it was taken from.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import sys
from collections.abc import Sequence
from typing import Any

from bench_parts.cases import one_run, overrides_of
from bench_parts.child import Child, ChildError
from bench_parts.tables import shown, spread, table
from bench_parts.typed import at_least, new_file
from bench_parts.where import in_words, load, where

from rlkd_run.cli import exit_code
from rlkd_run.config.runconfig import RunConfig
from rlkd_run.errors import ConfigError

WARM_UP = 20  # an epoch in which the agent learns on mixed images, so that all memory has been asked for once


def arguments(typed: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pair", default="resnet56-resnet20", metavar="TEACHER-STUDENT")
    parser.add_argument("--policies", nargs="+", default=["fixed", "rlkd"])
    parser.add_argument("--override", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--batch", type=at_least(1), default=64, help="images a step (default: 64)")
    parser.add_argument(
        "--sizes", type=at_least(1), nargs="+", default=[2000, 5000, 10_000, 20_000, 50_000], help="in images"
    )
    parser.add_argument("--steps", type=at_least(2), default=24, help="a repeat and size (default: 24)")
    parser.add_argument("--repeats", type=at_least(1), default=5)
    parser.add_argument("--epochs", type=at_least(3), default=12, help="how many are run (default: 12)")
    parser.add_argument("--json", type=new_file, metavar="FILE", help="everything, all single values included")
    parser.add_argument("--quick", action="store_true", help="a smoke run: tiny networks and few steps, unless set")
    given = parser.parse_args(typed)
    if given.quick:
        given.override.insert(0, "runtime.num_threads=1")  # beside other work, threads would wait for each other
        small = {"pair": "resnet14-resnet8", "batch": 8, "sizes": [32, 64], "steps": 3, "repeats": 2, "epochs": 3}
        for name, value in small.items():
            if getattr(given, name) == parser.get_default(name):
                setattr(given, name, value)
    given.sizes = sorted({size // given.batch * given.batch for size in given.sizes})
    if given.sizes[0] < given.steps * given.batch:
        parser.error("the least of --sizes must hold --steps of --batch")
    if len(given.sizes) < 2:
        parser.error("slopes need at least two --sizes")
    return given


def slope(x: Sequence[float], y: Sequence[float]) -> float:
    """Theil and Sen's slope: units of y for one of x."""
    points = itertools.combinations(zip(x, y, strict=True), 2)
    return statistics.median((b[1] - a[1]) / (b[0] - a[0]) for a, b in points if a[0] != b[0])


def percent(x: Sequence[float], y: Sequence[float]) -> float:
    """The slope over the whole range of x, in percent of the median of y."""
    return 100 * slope(x, y) * (max(x) - min(x)) / statistics.median(y)


def epoch_numbers(number: int, config: RunConfig) -> list[int]:
    """Epochs spread over the recipe, there and back, none of which trains the agent: their steps should be alike."""
    first, last = WARM_UP + 1, config.recipe.epochs
    every = config.agent.train_every
    acting = [epoch for epoch in range(first, last + 1) if epoch % every and epoch >= config.agent.warmup_epochs]
    different = (number + 1) // 2
    if len(acting) < different:
        raise ValueError(f"--epochs {number}: the agent acts without learning in only {len(acting)} of the recipe")
    rising = [acting[round(i * (len(acting) - 1) / (different - 1))] for i in range(different)]
    return [*rising, *rising[number // 2 - 1 :: -1]]


def measure(given: argparse.Namespace, child: Child, numbers: list[int]) -> dict[str, Any]:
    """One policy."""
    smallest = given.sizes[0]
    device = child.ask("open", smallest)
    whole = smallest // given.batch
    child.ask("run", smallest, whole, WARM_UP)
    child.ask("run", smallest, whole, WARM_UP + 1)
    epochs = [child.ask("run", smallest, whole, number) for number in numbers]
    for size in given.sizes[1:]:
        child.ask("open", size)
    for size in given.sizes:
        child.ask("run", size, max(2, given.steps // 4), WARM_UP + 1)
    runs: dict[int, list[dict[str, Any]]] = {size: [] for size in given.sizes}
    for repeat in range(given.repeats):
        turn = repeat % len(given.sizes)  # no size is always the first
        for size in [*given.sizes[turn:], *given.sizes[:turn]]:
            runs[size].append(child.ask("run", size, given.steps, WARM_UP + 1))
    return {
        "device": device,
        "sizes": [
            {
                "images": size,
                **{key: spread([run[key] for run in runs[size]]) for key in ("ms_per_step", "epoch_start_ms")},
            }
            for size in given.sizes
        ],
        "epochs": [{"epoch": number, **epoch} for number, epoch in zip(numbers, epochs, strict=True)],
    }


def conclude(result: dict[str, Any]) -> dict[str, Any]:
    """Slopes over the sizes (a value a repeat), over the epochs, and of memory."""
    sizes, epochs = result["sizes"], result["epochs"]
    images = [size["images"] for size in sizes]
    by_repeat = zip(*(size["ms_per_step"]["values"] for size in sizes), strict=True)
    numbers = [epoch["epoch"] for epoch in epochs]
    order = range(len(epochs))
    field = "resident_mib" if epochs[0]["gpu_mib"] is None else "gpu_mib"
    held, times = [epoch[field] for epoch in epochs], [epoch["ms_per_step"] for epoch in epochs]
    return {
        "time_over_sizes_percent": spread([percent(images, times_of) for times_of in by_repeat]),
        "time_over_epochs_percent": percent(numbers, times),
        "time_spread_over_epochs_percent": 100 * (max(times) - min(times)) / statistics.median(times),
        "memory": field,
        "memory_mib_per_epoch": slope(order, held),
        "memory_over_epochs_percent": percent(order, held),
    }


def show(policy: str, result: dict[str, Any]) -> None:
    sizes, epochs, end = result["sizes"], result["epochs"], result["conclusion"]
    print(f"\nkd, {policy}\n")
    rows = [[str(size["images"]), shown(size["ms_per_step"]), shown(size["epoch_start_ms"])] for size in sizes]
    print(table(["images", "ms a step", "once an epoch, ms"], rows))
    print(
        f"\nFrom {sizes[0]['images']} to {sizes[-1]['images']} images the time of a step changes by "
        f"{end['time_over_sizes_percent']['median']:+.1f} % "
        f"({end['time_over_sizes_percent']['least']:+.1f} … {end['time_over_sizes_percent']['most']:+.1f} by repeat).\n"
    )
    rows = [
        [str(epoch["epoch"]), f"{epoch['ms_per_step']:.1f}", f"{epoch['resident_mib']:.1f}"]
        + ([] if epoch["gpu_mib"] is None else [f"{epoch['gpu_mib']:.1f}"])
        for epoch in epochs
    ]
    numbers = [epoch["epoch"] for epoch in epochs]
    head = ["epoch", "ms a step", "resident MiB", "GPU MiB"]
    print(table(head[: len(rows[0])], rows))
    print(
        f"\nFrom epoch {min(numbers)} to {max(numbers)} the time of a step changes by "
        f"{end['time_over_epochs_percent']:+.1f} % (single epochs differ by up to "
        f"{end['time_spread_over_epochs_percent']:.1f} %); {end['memory']} changes by "
        f"{1024 * end['memory_mib_per_epoch']:+.1f} KiB an epoch, "
        f"{end['memory_over_epochs_percent']:+.2f} % over {len(epochs)} epochs."
    )


def main() -> int:
    given = arguments()
    try:
        asked = {
            policy: overrides_of(given.pair, "kd", policy, given.batch, given.override) for policy in given.policies
        }
        configs = {policy: one_run(overrides) for policy, overrides in asked.items()}
        if any(config.recipe.batch_size != given.batch for config in configs.values()):
            raise ValueError("the batch size is set by --batch, not by an override")
        numbers = {policy: epoch_numbers(given.epochs, config) for policy, config in configs.items()}
    except (ConfigError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    load_before = load()
    policies: dict[str, Any] = {}
    found: dict[str, Any] = {}
    for policy, overrides in asked.items():
        child = Child("bench_parts.growing:Growing", overrides=list(overrides))
        try:
            child.ready()
            policies[policy] = measure(given, child, numbers[policy])
        except (ChildError, ConfigError) as error:
            print(error, file=sys.stderr)
            return 2 if isinstance(error, ConfigError) else 1
        finally:
            child.close()
        if not found:
            found = where(policies[policy]["device"], load_before)
            print(in_words(found))
        policies[policy]["conclusion"] = conclude(policies[policy])
        show(policy, policies[policy])
    if given.json is not None:
        settings = {**vars(given), "json": str(given.json)}
        given.json.write_text(
            json.dumps({**found, "settings": settings, "policies": policies}, indent=1, allow_nan=False) + "\n"
        )
    return 0


if __name__ == "__main__":
    sys.exit(exit_code(main))
