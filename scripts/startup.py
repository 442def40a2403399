#!/usr/bin/env python3
"""How fast the command answers when nothing has to be trained: help, a composed configuration, a mistake.

Interleaved repeats, medians; each beside `python -c pass`, the least that any Python command takes here.

    python scripts/startup.py [REPEATS]
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

COMMANDS = {
    "python alone": [sys.executable, "-c", "pass"],
    "--help": [sys.executable, "-m", "rlkd_run", "--help"],
    "--cfg job": [sys.executable, "-m", "rlkd_run", "--cfg", "job"],
    "teacher=resnet57 (a mistake)": [sys.executable, "-m", "rlkd_run", "teacher=resnet57"],
    "three mistakes": [sys.executable, "-m", "rlkd_run", "recipe.epochs=0", "recipe.lrr=1", "agent.t_min=11"],
}


def main() -> None:
    repeats = int(sys.argv[1]) if len(sys.argv) > 1 else 7
    seconds: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(repeats):
        for name, command in COMMANDS.items():
            began = time.perf_counter()
            subprocess.run(command, capture_output=True, check=False)
            seconds[name].append(time.perf_counter() - began)
    print(f"median of {repeats} interleaved repeats, in seconds (least, most)")
    for name, values in seconds.items():
        print(f"{name:<30} {statistics.median(values):.2f}  ({min(values):.2f}, {max(values):.2f})")


if __name__ == "__main__":
    main()
