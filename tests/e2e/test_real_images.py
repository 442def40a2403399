"""The real command on real images: skipped where there are none."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from support import Ended

CHEAP = ["runtime.num_threads=1", "runtime.tensorboard=false"]


def result() -> dict[str, dict[str, dict[str, float]]]:
    (path,) = Path("outputs/runs").glob("*/result.json")
    values: dict[str, dict[str, dict[str, float]]] = json.loads(path.read_text())
    return values


def test_cifar100_from_a_reference_teacher(rlkd_run: Callable[..., Ended], real_data: Path, shared: Path) -> None:
    """A ResNet-20 in the reference frameworks' format teaches a ResNet-8; it scores 67.12 % on the whole test set."""
    ended = rlkd_run(
        f"dataset.root={real_data}",
        f"teacher.checkpoint={shared / 'data/teachers/resnet20.pth'}",
        "teacher=resnet20",
        "student=resnet8",
        "dataset.train_limit=960",
        "recipe.epochs=2",
        "recipe.batch_size=32",
        *CHEAP,
    )
    assert ended.code == 0, ended.err
    found = result()
    assert found["teacher"]["top1"] == pytest.approx(67.12, abs=0.005)
    assert found["student"]["top1"]["last"] > 2  # chance is 1
    (metrics,) = Path("outputs/runs").glob("*/metrics.csv")
    header, first, second = (line.split(",") for line in metrics.read_text().splitlines())
    last = dict(zip(header, map(float, second), strict=True))
    assert 1 < last["t_min"] < last["t_mean"] < last["t_max"] < 10
    assert last["agent_updates"] == 2
    assert last["t_mean"] != float(first[header.index("t_mean")])


def test_a_folder_of_photographs(rlkd_run: Callable[..., Ended], real_data: Path) -> None:
    ended = rlkd_run(
        "dataset=folder",
        f"dataset.root={real_data / 'imagenette'}",
        "dataset.image_size=48",
        "dataset.resize=56",
        "dataset.train_limit=120",
        "dataset.test_limit=40",
        "teacher=resnet14",
        "student=timm",
        "student.model=resnet10t",
        "recipe.epochs=2",
        "recipe.batch_size=20",
        "runtime.num_workers=2",
        *CHEAP,
    )
    assert ended.code == 0, ended.err
    assert "| resnet14-resnet10t" in ended.out
