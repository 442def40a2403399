"""Teachers that were trained with other means and deviations."""

from __future__ import annotations

import torch
from torch import nn

from rlkd_run.models.build import build_model
from rlkd_run.models.normalise import Renormalised, native_normalisation, normalised

CIFAR = (0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761)
IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def normalise(pixels: torch.Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> torch.Tensor:
    return (pixels - torch.tensor(mean).view(1, 3, 1, 1)) / torch.tensor(std).view(1, 3, 1, 1)


def test_images_arrive_in_the_models_own_normalisation() -> None:
    pixels = torch.rand(2, 3, 5, 5)
    wrapped = Renormalised(nn.Identity(), *CIFAR, *IMAGENET)
    torch.testing.assert_close(wrapped(normalise(pixels, *CIFAR)), normalise(pixels, *IMAGENET))


def test_channels_last_stays() -> None:
    images = torch.rand(2, 3, 5, 5).contiguous(memory_format=torch.channels_last)
    assert Renormalised(nn.Identity(), *CIFAR, *IMAGENET)(images).is_contiguous(memory_format=torch.channels_last)


def test_the_buffers_are_in_no_state_dict() -> None:
    wrapped = Renormalised(nn.Linear(2, 2), *CIFAR, *IMAGENET)
    assert set(wrapped.state_dict()) == {"renormalised.weight", "renormalised.bias"}
    assert {name for name, _ in wrapped.named_buffers()} == {"scale", "shift"}


def test_native_normalisation() -> None:
    model = build_model("timm", "resnet10t", 10)
    assert native_normalisation(model) == IMAGENET
    assert native_normalisation(build_model("zoo", "resnet8", 10)) is None


def test_nothing_is_wrapped_in_vain() -> None:
    model = build_model("zoo", "resnet8", 10)
    assert isinstance(normalised(model, *CIFAR, IMAGENET), Renormalised)
    assert normalised(model, *map(list, IMAGENET), IMAGENET) is model
    assert normalised(model, *CIFAR, None) is model
