"""Workers that are kept for the next epoch do not keep the process from ending."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from PIL import Image

LEAVE_IN_MID_EPOCH = """
import torch
from rlkd_run.config.composition import compose_command
from rlkd_run.experiment import open_data
arguments = ["dataset=folder", "dataset.root=images", "dataset.image_size=8", "runtime.num_workers=2"]
(config,) = compose_command(arguments).runs
dataset = open_data(config, torch.device("cpu"))
loader = dataset.train_batches(2, 0)
whole = sum(1 for _ in loader.epoch(1))
begun = loader.epoch(2)
next(begun)
print(whole)
"""


def test_the_process_ends() -> None:
    for split in ("train", "val"):
        for label in ("a", "b"):
            folder = Path("images", split, label)
            folder.mkdir(parents=True)
            for number in range(4):
                Image.new("RGB", (12, 10), (number, 0, 0)).save(folder / f"{number}.png")
    done = subprocess.run(
        [sys.executable, "-c", LEAVE_IN_MID_EPOCH], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "4\n", "")
