#!/usr/bin/env python3
"""How fast the command answers: help, a composed configuration, a mistake, and the first step of a training.

Interleaved repeats, medians; each beside `python -c pass`, the least that any Python command takes here.

    python scripts/startup.py [REPEATS]
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time

from bench_parts.typed import at_least

# The quickstart, ended by its first optimiser step.
FIRST_STEP = """
import os, sys
from rlkd_run import optimizers
step = optimizers.SGD.step
def step_and_end(*arguments, **options):
    step(*arguments, **options)
    os._exit(7)
optimizers.SGD.step = step_and_end
from rlkd_run.cli import main
main(["experiment=quickstart", "output_root=" + sys.argv[1]])
"""

COMMANDS = {
    "python alone": [sys.executable, "-c", "pass"],
    "--help": [sys.executable, "-m", "rlkd_run", "--help"],
    "--cfg job": [sys.executable, "-m", "rlkd_run", "--cfg", "job"],
    "teacher=resnet57 (a mistake)": [sys.executable, "-m", "rlkd_run", "teacher=resnet57"],
    "three mistakes": [sys.executable, "-m", "rlkd_run", "recipe.epochs=0", "recipe.lrr=1", "agent.t_min=11"],
    "first step of the quickstart": [sys.executable, "-c", FIRST_STEP],
}
ENDS = {"first step of the quickstart": 7}  # exit codes; 0 or 2 elsewhere


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "repeats", metavar="REPEATS", nargs="?", type=at_least(1), default=7, help="of each command; 7 by default"
    )
    repeats = parser.parse_args().repeats
    seconds: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(repeats):
        for name, command in COMMANDS.items():
            with tempfile.TemporaryDirectory() as folder:
                began = time.perf_counter()
                done = subprocess.run([*command, *([folder] if name in ENDS else [])], capture_output=True, text=True)
                seconds[name].append(time.perf_counter() - began)
            if done.returncode not in ((ENDS[name],) if name in ENDS else (0, 2)):
                sys.exit(f"{name} ended with {done.returncode}:\n{done.stderr}")
    print(f"median of {repeats} interleaved repeats, in seconds (least, most)")
    for name, values in seconds.items():
        print(f"{name:<30} {statistics.median(values):.2f}  ({min(values):.2f}, {max(values):.2f})")


if __name__ == "__main__":
    main()
