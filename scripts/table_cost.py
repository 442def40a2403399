#!/usr/bin/env python3
"""Time and peak memory of rlkd-table on many synthetic run folders.

    python scripts/table_cost.py [FOLDERS]

The folders are copies of a real record under results/ with names, seed and accuracy of their own; their numbers mean
nothing. What each form costs is printed, start of the process included.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench_parts.typed import at_least

from rlkd_run.results.reported import method_order, pair_order

ROOT = Path(__file__).resolve().parent.parent
METHODS = (*method_order(), "at", "rkd", "fitnet")
TEMPERATURES = ("fixed", "ctkd", "rlkd", "random")
FORMS = {
    "Markdown": (),
    "a list": ("--layout", "list"),
    "CSV": ("--csv",),
    "LaTeX": ("--latex",),
    "HTML with pictures": ("--html",),
}


def template() -> Path:
    """The folder of a finished distillation that is kept in the repository."""
    for file in sorted(ROOT.glob("results/**/result.json")):
        if json.loads(file.read_text())["task"] == "distill":
            return file.parent
    raise SystemExit("No distillation under results/ to copy.")


def settings(count: int) -> list[tuple[str, str, str, int]]:
    """Pair, method, temperature and seed of each folder: all settings with seed 0, then with seed 1, and so on."""
    cells = [(pair, method, policy) for pair in pair_order("cifar100") for method in METHODS for policy in TEMPERATURES]
    few = cells[: max(1, min(len(cells), count // 3))]
    return [(*few[i % len(few)], i // len(few)) for i in range(count)]


def write(folder: Path, source: Path, result: dict[str, Any], setting: tuple[str, str, str, int], top1: float) -> None:
    """One synthetic run folder."""
    pair, method, policy, seed = setting
    values = json.loads(json.dumps(result))
    values["teacher"]["name"], values["student"]["name"] = pair.split("-")
    values |= {"method": method, "temperature": policy, "seed": seed, "agent": "paper" if policy == "rlkd" else None}
    values["student"]["top1"] |= {"best": top1, "last": top1 - 0.2}
    values["config"] |= {"seed": seed, "method": {"name": method}, "temperature": {"name": policy}}
    values["identity"] = {"run": "0", "cell": f"{pair}-{method}-{policy}"}
    folder.mkdir(parents=True)
    (folder / "result.json").write_text(json.dumps(values, indent=1))
    shutil.copy(source / "metrics.csv", folder)


def measure(folder: Path, options: tuple[str, ...]) -> tuple[float, float]:
    """Seconds and MB at its peak of one rlkd-table; Linux counts at least what this process holds when it forks."""
    begun = time.perf_counter()
    command = [sys.executable, "-m", "rlkd_run.results.cli", str(folder), *options]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, env={**os.environ, "PYTHONPATH": str(ROOT)})
    _, status, usage = os.wait4(process.pid, 0)  # which alone tells the memory of this process
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} failed.")
    return time.perf_counter() - begun, usage.ru_maxrss / 1024


def main() -> None:
    """Write the folders, measure every form, print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "folders", metavar="FOLDERS", nargs="?", type=at_least(1), default=500, help="how many; 500 by default"
    )
    count = parser.parse_args().folders
    source, chance = template(), random.Random(0)
    result = json.loads((source / "result.json").read_text())
    with tempfile.TemporaryDirectory() as temporary:
        for i, setting in enumerate(settings(count)):
            write(Path(temporary, f"{i:05}"), source, result, setting, round(chance.gauss(72, 2), 2))
        print(f"{count} run folders\n\n| form | seconds | MB at the peak |\n|---|---:|---:|")
        for name, options in FORMS.items():
            seconds, megabytes = measure(Path(temporary), options)
            print(f"| {name} | {seconds:.2f} | {megabytes:.0f} |", flush=True)


if __name__ == "__main__":
    main()
