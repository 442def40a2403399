"""Every base method and every temperature policy from the command line, on real images: skipped where there are none.

A ResNet-20 that scores 67 % on CIFAR-100 teaches a ResNet-8 for two epochs of 25 steps. Runs of one seed see the same
views of the images, so that the first of them keeps the teacher's answers for all that ask for logits alone.
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest
from support import Ended
from torch import nn

import rlkd_run.config.builtin  # noqa: F401 - registers the names
from rlkd_run import experiment
from rlkd_run.config.datasets import DatasetOptions
from rlkd_run.config.registry import METHODS, TEMPERATURES
from rlkd_run.data import cifar
from rlkd_run.data.archives import Archive
from rlkd_run.data.resident import RawImages
from rlkd_run.evaluation import Accuracy
from rlkd_run.protocol import Batch

CHANCE = 5.0  # top-5 accuracy, which a few hundred images tell better than top-1
# Where the defaults are made for many epochs or for larger networks.
OPTIONS = {
    "wttm": ["method.kl_weight=1"],
    "ttm": ["method.kl_weight=10"],
    "reviewkd": ["method.max_width=32"],
    "diffkd": ["method.autoencoder_width=16", "recipe.lr=0.05"],
    "annealing": ["recipe.lr=0.2"],
    "sp": ["method.feature_weight=100"],
    "rkd": ["method.feature_weight=0.1"],
}
POLICY_OPTIONS = {"dtkd": ["recipe.lr=0.1", "method.ce_weight=1"]}


@pytest.fixture(scope="module", autouse=True)
def _the_same_for_all_done_once() -> Iterator[None]:
    """The archive's check sums and pixels, and what the teacher scores."""
    read, images = cifar.read_archive, dict[str, RawImages]()
    evaluate, scores = experiment.evaluate, list[Accuracy]()

    def read_once(archive: Archive, options: DatasetOptions) -> RawImages:
        if options.name not in images:
            images[options.name] = read(archive, options)
        return images[options.name]

    def evaluate_once(teacher: nn.Module, batches: Iterable[Batch]) -> Accuracy:
        if not scores:
            scores.append(evaluate(teacher, batches))
        return scores[0]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cifar, "read_archive", read_once)
        patch.setattr(experiment, "evaluate", evaluate_once)
        yield


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("answers")


@pytest.mark.parametrize(
    ("method", "temperature"),
    [*((name, "fixed") for name in METHODS), *(("kd", name) for name in TEMPERATURES if name != "fixed")],
)
def test_two_epochs_end_above_chance(
    rlkd_run: Callable[..., Ended], real_data: Path, shared: Path, answers: Path, method: str, temperature: str
) -> None:
    ended = rlkd_run(
        f"dataset.root={real_data}",
        f"teacher.checkpoint={shared / 'data/teachers/resnet20.pth'}",
        "teacher=resnet20",
        "student=resnet8",
        f"method={method}",
        f"temperature={temperature}",
        "dataset.train_limit=400",
        "dataset.test_limit=400",
        "recipe.epochs=2",
        "recipe.batch_size=16",
        "recipe.lr=0.15",
        "runtime.teacher_cache=lazy",
        f"runtime.cache_root={answers}",
        "runtime.num_threads=1",
        "runtime.tensorboard=false",
        *OPTIONS.get(method, []),
        *POLICY_OPTIONS.get(temperature, []),
    )
    assert ended.code == 0, ended.err
    (folder,) = Path("outputs/runs").iterdir()
    student = json.loads((folder / "result.json").read_text())["student"]["top5"]
    assert student["last"] > 1.5 * CHANCE
    with (folder / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    values = [float(value) for row in rows for value in row.values() if value]
    assert all(map(math.isfinite, values))
    if temperature != "fixed":
        assert float(rows[-1]["t_min"]) > 0
    if temperature == "rlkd":
        last = {name: float(value) for name, value in rows[-1].items() if value}
        assert 1 < last["t_min"] < last["t_mean"] < last["t_max"] < 10
        assert last["t_mean"] != float(rows[0]["t_mean"])
        assert last["agent_updates"] == 2  # rollouts of 16 steps in 25 steps
