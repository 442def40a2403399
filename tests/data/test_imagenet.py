"""`dataset=imagenet` is the whole of ImageNet or refused, so that nothing else stands beside its numbers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from rlkd_run.config.composition import compose_command
from rlkd_run.config.identity import run_hash
from rlkd_run.config.runconfig import RunConfig
from rlkd_run.data import imagenet
from rlkd_run.data.dataset import Dataset, Loading, open_dataset
from rlkd_run.errors import ConfigError

from .conftest import CPU


def config(*overrides: str) -> RunConfig:
    networks = ["teacher=resnet34_imagenet", "student=resnet18_imagenet", "recipe=imagenet"]
    (run,) = compose_command(["dataset=imagenet", *networks, *overrides]).runs
    return run


def opened(root: Path) -> Dataset:
    options = config(f"dataset.root={root}").dataset
    return open_dataset(options, Loading(CPU, num_workers=0))


def test_anything_else_is_refused_with_its_size(image_tree: Callable[..., Path]) -> None:
    with pytest.raises(ConfigError) as caught:
        opened(image_tree())
    (problem,) = caught.value.problems
    assert problem == (
        "dataset.root=images holds 3 classes with 12 training and 12 test images, and ImageNet has 1,000 classes with "
        "1,281,167 training and 50,000 test images: complete it, or use dataset=folder for another data set."
    )


def test_the_whole_is_opened(image_tree: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imagenet, "WHOLE", imagenet.Size(3, 12, 12))
    dataset = opened(image_tree())
    assert (dataset.name, dataset.num_classes, dataset.num_train, dataset.num_test) == ("imagenet", 3, 12, 12)
    assert next(iter(dataset.test_batches(4))).images.shape == (4, 3, 224, 224)


def test_it_is_the_same_wherever_it_lies() -> None:
    assert run_hash(config("dataset.root=here")) == run_hash(config("dataset.root=there"))


def test_weights_and_exploration_are_the_literatures() -> None:
    """CTKD's scripts: both terms have weight 1, DKD's beta is 1; RLKD: no exploration."""
    for method in ("kd", "pkt", "srrl"):
        options = config("dataset.root=x", f"method={method}").method
        assert (options.ce_weight, options.kl_weight) == (1, 1)
    assert config("dataset.root=x", "method=dkd").method.beta == 1
    assert config("dataset.root=x", "temperature=ctkd").temperature.loops == 5
    assert config("dataset.root=x").agent.exploration.epochs == "none"
    (run,) = compose_command(["dataset=cifar100"]).runs
    assert (run.method.ce_weight, run.method.kl_weight, run.agent.exploration.epochs) == (0.1, 0.9, "early")
