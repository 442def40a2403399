#!/usr/bin/env python3
"""How fast training is: images a second, memory, where a step goes, against a plain loop and against the machine.

    python scripts/bench.py
    python scripts/bench.py --pairs resnet56-resnet20 vgg13-vgg8 --policies fixed rlkd --json bench.json
    python scripts/bench.py --variant "default:" --variant "plain:runtime.channels_last=false"

Every case (pair x method x policy x variant) and the reference loop (scripts/reference_loop.py) live in a process of
their own, all started first. Where the teacher's answers are kept, a process before it has computed those that will be
asked for (the views of every repeat are the same), so that the cache is a warm one. Then the cases are measured one at
a time, in turn, again and again: what disturbs the machine for a while disturbs all cases of a repeat, and a ratio is
the median of the ratios within the repeats. After that come, once each, the peak memory, the parts of a step
(instrumented, so a little slower), on a GPU the kernels, and the rates of the machine that the lower bound is made of.

Images are random unless --data names a folder of CIFAR-100: the cost of a step does not depend on what they show. A
step is that of training alone, without evaluation, records and progress bar. RLKD is measured in epoch 21 of 240, where
the agent acts, as in 209 epochs of 240; --epoch 220 is one in which it also learns, --epoch 20 one with mixed images.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from typing import Any

from bench_parts.cases import Case, Variant, one_run, plan
from bench_parts.child import Child, ChildError
from bench_parts.tables import ratios, shown, spread, table
from bench_parts.typed import at_least, new_file
from bench_parts.where import in_words, load, where

from rlkd_run.cli import exit_code
from rlkd_run.errors import ConfigError

TIMES = ("ms_per_step", "images_per_second", "epoch_start_ms", "processor_ms_per_step")


def arguments(typed: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", nargs="+", default=["resnet56-resnet20"], metavar="TEACHER-STUDENT")
    parser.add_argument("--methods", nargs="+", default=["kd"])
    parser.add_argument("--policies", nargs="+", default=["fixed", "rlkd"])
    parser.add_argument("--override", action="append", default=[], metavar="KEY=VALUE", help="for every case")
    parser.add_argument(
        "--variant",
        action="append",
        default=[],
        metavar="LABEL:OVERRIDES",
        help="compared with each other; overrides are separated by blanks; the first one is what ratios refer to",
    )
    parser.add_argument("--batch", type=at_least(1), default=64, help="images a step (default: 64)")
    parser.add_argument("--images", type=int, default=50_000, help="in the training set (default: 50000)")
    parser.add_argument("--data", metavar="FOLDER", help="of CIFAR-100; random images without it")
    parser.add_argument("--epoch", type=at_least(1), default=21, help="which epoch is measured (default: 21)")
    parser.add_argument("--steps", type=at_least(2), help="a repeat (default: 24; on a GPU 300)")
    parser.add_argument("--repeats", type=at_least(1), default=5)
    parser.add_argument("--no-reference", action="store_true", help="leave the reference loop out")
    parser.add_argument("--json", type=new_file, metavar="FILE", help="everything, all single values included")
    parser.add_argument(
        "--quick", action="store_true", help="a smoke run: tiny networks and few steps, unless set; means nothing"
    )
    given = parser.parse_args(typed)
    if given.quick:
        given.override.insert(0, "runtime.num_threads=1")  # beside other work, threads would wait for each other
        small = {"pairs": ["resnet14-resnet8"], "batch": 16, "images": 512, "steps": 4, "repeats": 2}
        for name, value in small.items():
            if getattr(given, name) == parser.get_default(name):
                setattr(given, name, value)
    # Whole batches only, so that every step has the same work.
    given.images = given.images // given.batch * given.batch
    if given.images < given.batch * (given.steps or 2):
        parser.error(f"--images {given.images} is less than --steps {given.steps or 2} of --batch {given.batch}")
    return given


def cases_of(given: argparse.Namespace, folder: str) -> list[Case]:
    """The cases asked for, each of which composes; what they keep goes into `folder`.

    Raises:
        ConfigError, ValueError: one does not.
    """
    variants = [Variant.parse(text) for text in given.variant] or [Variant("default", ())]
    if len({variant.label for variant in variants}) < len(variants):
        raise ValueError("two variants have the same label")
    reference = not given.no_reference
    cases = plan(given.pairs, given.methods, given.policies, variants, given.batch, given.override, reference=reference)
    for number, case in enumerate(cases):
        config = one_run(case.overrides)
        if config.recipe.batch_size != case.batch:
            raise ValueError(f"{case.name}: the batch size is set by --batch, not by an override")
        if not given.epoch <= config.recipe.epochs:
            raise ValueError(f"{case.name}: --epoch {given.epoch} is beyond the {config.recipe.epochs} of the recipe")
        if case.kind == "project" and config.runtime.teacher_cache != "none":
            cases[number] = case._replace(answers=f"{folder}/{number}")
    return cases


def measure(
    given: argparse.Namespace, cases: list[Case], children: dict[str, Child], load_before: float
) -> dict[str, Any]:
    """All that is measured, by name of the case."""
    for child in children.values():
        child.ready()
    facts = children[cases[-1].name].ask("facts")
    steps = given.steps or min(24 if facts["device"] == "cpu" else 300, given.images // given.batch)
    found = where(facts, load_before)
    print(in_words(found), flush=True)
    print(
        f"measured  {given.repeats} interleaved repeats of {steps} steps, batch {given.batch}, "
        f"{given.images} {'random ' if given.data is None else ''}images, epoch {given.epoch}\n",
        flush=True,
    )
    for case in cases:
        children[case.name].ask("run", steps, given.epoch)
        if case.answers:  # to the views that every repeat draws: a later run, which finds them, is measured
            children[case.name].close()
            children[case.name] = case.start(given.images, given.data)
            children[case.name].ready()
            children[case.name].ask("run", steps, given.epoch)
    runs: dict[str, list[dict[str, float]]] = {case.name: [] for case in cases}
    for repeat in range(given.repeats):
        turn = repeat % len(cases)  # nobody is always the first
        for case in [*cases[turn:], *cases[:turn]]:
            runs[case.name].append(children[case.name].ask("run", steps, given.epoch))
    few = max(2, steps // 3)
    measured: dict[str, Any] = {}
    for case in cases:
        child, values = children[case.name], runs[case.name]
        measured[case.name] = {
            "kind": case.kind,
            "overrides": list(case.overrides),
            **{key: spread([value[key] for value in values]) for key in TIMES},
            "memory": child.ask("memory"),
            "split_ms": child.ask("split", few, given.epoch),
            "kernels": child.ask("kernels", few, given.epoch),
            "work": child.ask("work", given.batch),
            "device": child.ask("facts"),
        }
    for case in cases:  # last, because it takes more memory than all before
        measured[case.name]["rates"] = children[case.name].ask("rates", given.quick)
    return {
        **found,
        "settings": {**vars(given), "steps": steps, "json": None if given.json is None else str(given.json)},
        "cases": measured,
    }


def conclude(cases: list[Case], result: dict[str, Any]) -> None:
    """Add what follows from the measurements: ratios, lower bound, idle share."""
    measured = result["cases"]
    for case in cases:
        own = measured[case.name]
        times = own["ms_per_step"]["values"]
        for key, other in (("times_reference", case.reference), ("times_first_variant", case.first)):
            compared = other is not None and other != case.name
            own[key] = ratios(measured[other]["ms_per_step"]["values"], times) if compared else None
        own["roofline"] = bound(own["work"], best_rates(own["device"], measured), own["ms_per_step"]["median"])
        if own["kernels"] is not None:
            own["kernels"]["idle_share"] = 1 - own["kernels"]["busy_ms_per_step"] / own["ms_per_step"]["median"]


def best_rates(device: dict[str, Any], measured: dict[str, Any]) -> dict[str, Any]:
    """The highest rates that any case with the same device and threads saw: disturbances only ever lower them."""
    seen = [own["rates"] for own in measured.values() if own["device"] == device]
    products: dict[str, float] = {}
    for rates in seen:
        for precision, rate in rates["multiply_adds_per_second"].items():
            products[precision] = max(rate, products.get(precision, 0))
    return {"multiply_adds_per_second": products, "bytes_per_second": max(rates["bytes_per_second"] for rates in seen)}


def bound(needs: dict[str, Any], rates: dict[str, Any], ms_per_step: float) -> dict[str, Any]:
    """The least time of a step in ms, if arithmetic and memory overlap perfectly, and its share of the measured one."""
    products = rates["multiply_adds_per_second"]
    compute = 1000 * sum(macs / products[precision] for precision, macs in needs["multiply_adds_per_step"].items())
    memory = 1000 * needs["bytes_per_step"] / rates["bytes_per_second"]
    least = max(compute, memory)
    share = least / ms_per_step
    return {**rates, "compute_ms": compute, "memory_ms": memory, "bound_ms": least, "achieved_share": share}


def show(cases: list[Case], result: dict[str, Any]) -> None:
    measured = {case.name: result["cases"][case.name] for case in cases}
    several = any(own["times_first_variant"] for own in measured.values())
    print(f"Throughput: median (least … most). Times: how many times as fast as the reference loop{_and(several)}.\n")
    head = ["case", "img/s", "ms a step", "times reference", "times first variant", "peak MiB", "peak GPU MiB"]
    rows = [
        [
            name,
            f"{own['images_per_second']['median']:.0f}",
            shown(own["ms_per_step"]),
            shown(own["times_reference"], 2),
            shown(own["times_first_variant"], 2),
            _mib(own["memory"]),
            f"{own['memory']['gpu_peak_mib']:.0f}" if "gpu_peak_mib" in own["memory"] else "",
        ]
        for name, own in measured.items()
    ]
    print(table(*without_empty(head, rows)))

    print("\nParts of a step in ms, with instruments (the sum is compared with the ms a step without them).\n")
    parts = list(next(iter(measured.values()))["split_ms"])
    rows = [
        [
            name,
            *(f"{own['split_ms'][part]:.1f}" for part in parts),
            f"{sum(own['split_ms'].values()):.1f}",
            f"{own['ms_per_step']['median']:.1f}",
        ]
        for name, own in measured.items()
    ]
    print(table(["case", *parts, "sum", "without"], rows))

    print(
        "\nLower bound from arithmetic, in each network's precision, and bytes at the machine's measured rates, and "
        "how much of it is achieved.\n"
    )
    rows = [
        [
            name,
            _by_precision(own["work"]["multiply_adds_per_step"], ".2f"),
            f"{own['work']['bytes_per_step'] / 2**20:.0f}",
            _by_precision(
                {
                    name: own["roofline"]["multiply_adds_per_second"][name]
                    for name in own["work"]["multiply_adds_per_step"]
                },
                ".0f",
            ),
            f"{own['roofline']['bytes_per_second'] / 1e9:.1f}",
            f"{own['roofline']['compute_ms']:.1f}",
            f"{own['roofline']['memory_ms']:.1f}",
            f"{100 * own['roofline']['achieved_share']:.0f} %",
        ]
        for name, own in measured.items()
    ]
    head = ["case", "Gmac a step", "MiB a step", "Gmac/s", "GB/s", "compute ms", "memory ms", "achieved"]
    print(table(head, rows))

    keys = ("kernels_per_step", "copies_per_step", "busy_ms_per_step")
    rows = [
        [name, *(f"{seen[key]:.1f}" for key in keys), f"{100 * seen['idle_share']:.0f} %"]
        for name, own in measured.items()
        if (seen := own["kernels"]) is not None
    ]
    if rows:
        print("\nThe GPU during a step: idle is what of the step's time it works on nothing.\n")
        print(table(["case", "kernels", "copies", "busy ms", "idle"], rows))


def _by_precision(values: dict[str, float], form: str) -> str:
    """In units of 10⁹, as `15.89 fp32` or `8.05 bf16, 7.84 fp32`."""
    return ", ".join(f"{value / 1e9:{form}} {precision}" for precision, value in values.items())


def _and(several: bool) -> str:
    return " and as the first variant" if several else ""


def _mib(memory: dict[str, float]) -> str:
    own = f"{memory['peak_mib']:.0f}"
    return own + (f" + {memory['helpers_mib']:.0f}" if memory["helpers_mib"] else "")


def without_empty(head: list[str], rows: list[list[str]]) -> tuple[list[str], list[list[str]]]:
    """The columns in which some row has something."""
    kept = [column for column in range(len(head)) if any(row[column] for row in rows)]
    return [head[column] for column in kept], [[row[column] for column in kept] for row in rows]


def main() -> int:
    given = arguments()
    with tempfile.TemporaryDirectory(prefix="rlkd-run-bench-") as folder:
        try:
            cases = cases_of(given, folder)
        except (ConfigError, ValueError) as error:
            print(error, file=sys.stderr)
            return 2
        load_before = load()
        children: dict[str, Child] = {}
        try:
            for case in cases:
                children[case.name] = case.start(given.images, given.data)
            result = measure(given, cases, children, load_before)
        except (ChildError, ConfigError) as error:
            print(error, file=sys.stderr)
            return 2 if isinstance(error, ConfigError) else 1
        finally:
            for child in children.values():
                child.close()
    conclude(cases, result)
    show(cases, result)
    if given.json is not None:
        given.json.write_text(json.dumps(result, indent=1, allow_nan=False) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(exit_code(main))
