"""Networks by name, and what is said of the names that do not exist."""

from __future__ import annotations

from typing import Any

import pytest
import timm
import torch
from torch import nn

from rlkd_run.errors import ConfigError
from rlkd_run.models.build import build_model
from rlkd_run.models.zoo.resnet import ResNet


def refusal(*args: Any, **kwargs: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        build_model(*args, **kwargs)
    (sentence,) = caught.value.problems
    assert "\n" not in sentence
    return sentence


def test_zoo() -> None:
    model = build_model("zoo", "resnet8", 7, image_size=(8, 8))
    assert isinstance(model, ResNet)
    assert model.training
    assert model(torch.randn(2, 3, 8, 8)).shape == (2, 7)


def test_timm() -> None:
    model = build_model("timm", "resnet10t", 7, image_size=(32, 32))
    assert model.training
    assert model(torch.randn(2, 3, 32, 32)).shape == (2, 7)


def test_transformer_is_built_for_the_images() -> None:
    model = build_model("timm", "vit_tiny_patch16_224", 7, image_size=(32, 48))
    assert model(torch.randn(2, 3, 32, 48)).shape == (2, 7)


def test_building_with_a_check_leaves_the_random_generator_where_building_does() -> None:
    states = []
    for image_size in (None, (8, 8)):
        torch.manual_seed(0)
        build_model("zoo", "resnet8", 7, image_size=image_size)
        states.append(torch.get_rng_state())
    assert torch.equal(*states)


@pytest.mark.parametrize(
    ("source", "model", "nearest"),
    [
        ("zoo", "resnet57", "resnet56"),
        ("zoo", "WRN-40-2", "wrn_40_2"),
        ("zoo", "x", "shufflenet_v2"),
        ("timm", "resnet5O", "resnet50"),
        ("timm", "resnet50.a1_in2k", "resnet50.a1_in1k"),
        ("timm", "hf-hub:someone/resnet50", "seresnet50"),
        ("timm", "qqqqqq", "timm.list_models()"),
    ],
)
def test_unknown_names_bring_the_nearest(source: str, model: str, nearest: str) -> None:
    sentence = refusal(source, model, 10)
    assert f"'{model}'" in sentence
    assert nearest in sentence


def test_unknown_source() -> None:
    assert "choose zoo or timm" in refusal("hub", "resnet8", 10)


def test_the_zoo_has_no_published_weights() -> None:
    assert "teacher.checkpoint" in refusal("zoo", "resnet8", 10, pretrained=True)


def test_timm_models_without_published_weights() -> None:
    unpublished = next(name for name in timm.list_models() if not timm.is_model_pretrained(name))
    assert "publishes no weights" in refusal("timm", unpublished, 10, pretrained=True)


def test_weights_that_cannot_be_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*args: Any, **kwargs: Any) -> nn.Module:
        raise FileNotFoundError("An error happened while trying to locate the file on the Hub\nand more")

    monkeypatch.setattr(timm, "create_model", offline)
    sentence = refusal("timm", "resnet10t", 10, pretrained=True)
    assert "resnet10t" in sentence
    assert "teacher.checkpoint" in sentence


def test_published_weights_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {}

    def create(model: str, **options: Any) -> nn.Module:
        asked.update(options, model=model)
        return nn.Linear(1, 1)

    monkeypatch.setattr(timm, "create_model", create)
    build_model("timm", "resnet10t.c3_in1k", 5, pretrained=True)
    assert asked == {"model": "resnet10t.c3_in1k", "pretrained": True, "num_classes": 5}


def test_images_that_a_model_cannot_take() -> None:
    assert "8x8" in refusal("timm", "vit_tiny_patch16_224", 10, image_size=(8, 8))
    assert "4x4 pixels (Given input size: " in refusal("zoo", "vgg8", 10, image_size=(4, 4))


def test_models_of_one_fixed_size(monkeypatch: pytest.MonkeyPatch) -> None:
    def create(*args: Any, **options: Any) -> nn.Module:
        raise TypeError("unexpected keyword argument 'img_size'")

    monkeypatch.setattr(timm, "create_model", create)
    assert "32x32" in refusal("timm", "vit_tiny_patch16_224", 10, image_size=(32, 32))


def test_models_that_answer_with_something_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timm, "create_model", lambda *args, **options: nn.Flatten())
    assert "10 logits" in refusal("timm", "resnet10t", 10, image_size=(8, 8))
