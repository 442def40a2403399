"""A batch of one image is refused where torch could not train on it, and nowhere else."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from rlkd_run.errors import ConfigError
from rlkd_run.models.build import build_model
from rlkd_run.models.single_image import check_last_batch

SHAPE = (3, 8, 8)


def refused(model: nn.Module, num_images: int, batch_size: int) -> bool:
    try:
        check_last_batch("student", "network", model, SHAPE, num_images, batch_size)
    except ConfigError:
        return True
    return False


@pytest.mark.parametrize("name", ["resnet8", "vgg8", "mobilenet_v2", "shufflenet_v2"])
def test_what_torch_refuses_is_refused_before(name: str) -> None:
    model = build_model("zoo", name, 10, image_size=SHAPE[1:])
    before = {key: value.clone() for key, value in model.state_dict().items()}
    told = refused(model, 131, 10)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert model.training
    try:
        model(torch.randn(1, *SHAPE))
    except ValueError:
        assert told
    else:
        assert not told


@pytest.mark.parametrize(
    ("num_images", "batch_size", "one"),
    [(131, 10, True), (130, 10, False), (132, 10, False), (7, 1, True), (1, 8, True), (8, 8, False)],
)
def test_when_a_batch_holds_one_image(num_images: int, batch_size: int, one: bool) -> None:
    assert refused(build_model("zoo", "vgg8", 10, image_size=SHAPE[1:]), num_images, batch_size) is one


class Frozen(nn.Module):
    """A network whose batch norm is never trained."""

    def __init__(self, *, frozen: bool) -> None:
        super().__init__()
        self.frozen = frozen
        self.norm = nn.BatchNorm1d(3)

    def train(self, mode: bool = True) -> Frozen:
        super().train(mode)
        self.norm.train(mode and not self.frozen)
        return self

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.norm(images.mean((2, 3)))
        return logits


@pytest.mark.parametrize("frozen", [True, False])
def test_a_batch_norm_that_stays_in_evaluation_mode_takes_one_image(frozen: bool) -> None:
    model = Frozen(frozen=frozen).eval()
    assert refused(model, 131, 10) is not frozen
    assert not any(module.training for module in model.modules())
