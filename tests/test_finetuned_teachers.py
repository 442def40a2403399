"""Teachers whose training starts from weights that timm publishes, which expect images normalised in their own way."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from composed import composed
from support import TINY

from rlkd_run import teachers
from rlkd_run.config.runconfig import RunConfig
from rlkd_run.data.dataset import Dataset
from rlkd_run.errors import ConfigError
from rlkd_run.evaluation import Accuracy, evaluate
from rlkd_run.experiment import open_data
from rlkd_run.models.normalise import Renormalised
from rlkd_run.record import RunFolder

CPU = torch.device("cpu")
TIMM = [*TINY, "teacher=timm", "teacher.model=resnet10t", "teacher.recipe.epochs=2", "teacher.recipe.milestones=[1]"]
STARTED = [*TIMM, "teacher.pretrained=true"]


@pytest.fixture(autouse=True)
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """timm's hub, reduced to what it was asked for: the weights are those of a fresh network."""
    monkeypatch.chdir(tmp_path)
    asked: list[str] = []
    create = timm.create_model

    def created(model: str, *, pretrained: bool = False, **options: Any) -> torch.nn.Module:
        asked.extend([model] * pretrained)
        network: torch.nn.Module = create(model, pretrained=False, **options)
        return network

    monkeypatch.setattr(timm, "create_model", created)
    return asked


def measured(config: RunConfig, dataset: Dataset) -> tuple[Accuracy, torch.nn.Module]:
    model = teachers.build(config, dataset, CPU)
    teachers.equip(config, model, dataset, CPU, print)
    return evaluate(model, dataset.test_batches(100)), model


def test_its_file_knows_how_images_are_to_be_normalised(hub: list[str]) -> None:
    started = composed(*STARTED)
    dataset = open_data(started, CPU)
    trained, _ = measured(started, dataset)
    assert hub == ["resnet10t"] * 2  # the one that was to be equipped, and the one that was trained
    (weights,) = Path("outputs/teachers").glob("*/teacher.safetensors")
    given, model = measured(composed(*TIMM, f"teacher.checkpoint={weights}"), dataset)
    assert isinstance(model, Renormalised)
    assert given == trained
    assert len(hub) == 2


def test_as_an_adversary_it_answers_as_it_does_as_a_teacher(hub: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    started = composed(*STARTED)
    dataset = open_data(started, CPU)
    _, trained = measured(started, dataset)
    (weights,) = Path("outputs/teachers").glob("*/teacher.safetensors")
    nasty = composed(*TIMM, "teacher.objective=nasty", f"teacher.nasty.adversary={weights}")
    with RunFolder(Path("run")) as folder:
        network = teachers.build(nasty, dataset, CPU)
        adversary = teachers._objective(nasty, network, dataset, CPU, folder).adversary  # type: ignore[attr-defined]
    images = next(iter(dataset.test_batches(8))).images
    with torch.no_grad():
        assert torch.equal(adversary(images), trained.eval()(images))


def test_once_trained_it_needs_no_network(hub: list[str]) -> None:
    config = composed(*STARTED)
    dataset = open_data(config, CPU)
    trained, _ = measured(config, dataset)
    asked = len(hub)
    again, _ = measured(config, dataset)
    assert again == trained
    assert len(hub) == asked


def test_what_is_published_for_these_classes_is_not_trained(monkeypatch: pytest.MonkeyPatch, hub: list[str]) -> None:
    config = composed(*STARTED)
    dataset = open_data(config, CPU)
    monkeypatch.setattr(teachers, "published_classes", lambda model: dataset.num_classes)
    with pytest.raises(ConfigError, match="there is nothing to train"):
        teachers.train(config, dataset, CPU)
    assert hub
    assert not list(Path("outputs/teachers").glob("*/status.json"))
