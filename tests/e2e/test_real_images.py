"""The real command on real images: skipped where there are none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from support import Ended

from rlkd_run import teachers
from rlkd_run.config.composition import compose_command
from rlkd_run.device import prepare
from rlkd_run.evaluation import evaluate
from rlkd_run.experiment import open_data
from rlkd_run.models.placement import place

CHEAP = ["runtime.num_threads=1", "runtime.tensorboard=false"]


def test_the_reference_checkpoint_scores_what_its_authors_measured(real_data: Path, shared: Path) -> None:
    """A ResNet-20 in the reference frameworks' format, on the whole test set of CIFAR-100."""
    arguments = [f"dataset.root={real_data}", f"teacher.checkpoint={shared / 'data/teachers/resnet20.pth'}"]
    (config,) = compose_command([*arguments, "teacher=resnet20", "student=resnet8", *CHEAP, "runtime.device=cpu"]).runs
    cpu = prepare(config.runtime)
    dataset = open_data(config, cpu)
    teacher = teachers.build(config, dataset, cpu)
    teachers.equip(config, teacher, dataset, cpu, print)
    place(teacher, cpu, channels_last=True)
    assert evaluate(teacher, dataset.test_batches(200)).top1 == pytest.approx(67.12, abs=0.005)


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
