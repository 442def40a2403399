"""A tree of small images for the command, and the run that learns from it."""

from __future__ import annotations

import random
from pathlib import Path

from PIL import Image

FOLDER = [
    "dataset=folder", "dataset.root=images", "dataset.image_size=16", "dataset.resize=18", "teacher=resnet8",
    "student=resnet8", "recipe.epochs=2", "recipe.batch_size=4", "runtime.num_threads=1", "runtime.num_workers=0",
    "runtime.tensorboard=false",
]  # fmt: skip


def image_tree(root: Path, classes: int = 3, images: int = 4) -> Path:
    """Images of noise in `root`, in both splits; no two classes have files of the same sizes."""
    chance = random.Random(0)
    for split in ("train", "val"):
        for label in range(classes):
            folder = root / split / f"class{label}"
            folder.mkdir(parents=True)
            for number in range(images):
                size = (20 + number, 24 + label)
                pixels = chance.randbytes(3 * size[0] * size[1])
                Image.frombytes("RGB", size, pixels).save(folder / f"{number}.png")
    return root
