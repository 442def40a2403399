#!/usr/bin/env python3
"""Put a teacher that was trained at the full recipe into zoo/: half precision, with a card that says how it came about.

    python scripts/add_to_zoo.py outputs/teachers/FOLDER

Refused if the command on the card would train another teacher (other epochs, another seed), or if the half-precision
weights score differently from the trained ones or take more than 10 MB.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

from bench_parts.cases import one_run
from safetensors.torch import load_file, save

from rlkd_run import teachers
from rlkd_run.cli import exit_code
from rlkd_run.config.identity import teacher_folder_name
from rlkd_run.config.runconfig import RunConfig
from rlkd_run.device import prepare
from rlkd_run.errors import ConfigError
from rlkd_run.evaluation import evaluate
from rlkd_run.experiment import open_data
from rlkd_run.files import write_atomically
from rlkd_run.models.weights import load_weights
from rlkd_run.record import RESULT, read_json
from rlkd_run.teacher_weights import WEIGHTS

TOLERANCE, LIMIT = 0.05, 10_000_000  # percentage points, bytes


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", metavar="FOLDER", type=Path, help="of a trained teacher")
    folder = parser.parse_args().folder.resolve()
    result = read_json(folder / RESULT)
    config = RunConfig.from_dict(result["config"])
    overrides = ["task=train_teacher", f"dataset={config.dataset.name}", f"teacher={config.teacher.model}"]
    command = " ".join(["rlkd-run", *overrides])
    if teacher_folder_name(one_run(overrides)) != folder.name:
        raise ConfigError(f"{folder} is not the teacher that `{command}` trains, and no other goes into the zoo.")
    if not (folder / WEIGHTS).is_file():
        raise ConfigError(f"{folder} is not the folder of a trained teacher: it has no {WEIGHTS}.")
    weights = load_file(folder / WEIGHTS)
    content = save({name: value.half() if value.is_floating_point() else value for name, value in weights.items()})
    target = Path(__file__).resolve().parent.parent / "zoo" / f"{folder.name}.safetensors"
    if len(content) > LIMIT:
        sys.exit(f"{len(content)} bytes are more than the {LIMIT} that the zoo takes")
    device = prepare(config.runtime)
    dataset = open_data(config, device, probe_images=0)
    model = teachers.build(config, dataset, device)
    with tempfile.TemporaryDirectory() as temporary:  # the zoo holds nothing that has not been measured
        halved = Path(temporary, target.name)
        halved.write_bytes(content)
        load_weights(model, halved, what="zoo")
    measured = evaluate(model, dataset.test_batches(500))
    trained = result["teacher"]["top1"]["last"]
    if abs(measured.top1 - trained) > TOLERANCE:
        sys.exit(f"half precision scores {measured.top1:.2f} %, the trained weights {trained:.2f} %")
    card = {
        "architecture": {"source": config.teacher.source, "model": config.teacher.model},
        "dataset": config.dataset.name,
        "accuracy": {"top1": measured.top1, "top5": measured.top5, "trained": result["teacher"]["top1"]},
        "command": command,
        "recipe": result["identity"] | {"epochs": result["epochs"], "seed": result["seed"]},
        "packages": result["packages"],
        "code": result["code"],
        "machine": result["machine"],
    }
    write_atomically(target, content)
    write_atomically(target.with_suffix(".json"), (json.dumps(card, indent=1) + "\n").encode())
    print(f"{target.name}: {len(content)} bytes, {measured.top1:.2f} % top-1")
    return 0


if __name__ == "__main__":
    sys.exit(exit_code(main))
