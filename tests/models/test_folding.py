"""Folded batch norms: the same outputs and features, fewer layers, the model itself left alone."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from rlkd_run.models.build import build_model
from rlkd_run.models.features import Network
from rlkd_run.models.folding import cast_once, folded
from rlkd_run.protocol import Needs

EVERYTHING = Needs(penultimate=True, maps=True, preactivations=True)


def settled(source: str, name: str) -> nn.Module:
    """With batch norms that have seen something, so that folding has something to do."""
    torch.manual_seed(0)
    model = build_model(source, name, 10)
    with torch.no_grad():
        for _ in range(3):
            model(1 + 2 * torch.randn(16, 3, 32, 32))
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                nn.init.uniform_(module.weight, 0.5, 2)
                nn.init.normal_(module.bias)
    return model.eval()


def count(model: nn.Module) -> int:
    return sum(isinstance(module, nn.BatchNorm2d) for module in model.modules())


@pytest.mark.parametrize(
    ("source", "name", "left"),
    # WRN normalises before it convolves, so that many a convolution feeds more than a batch norm.
    [("zoo", "resnet14", 0), ("zoo", "resnet8x4", 0), ("zoo", "vgg8", 0), ("zoo", "mobilenet_v2", 0),
     ("zoo", "shufflenet_v1", 0), ("zoo", "wrn_16_2", None), ("timm", "test_resnet", 0)],
)  # fmt: skip
def test_outputs_are_the_same(source: str, name: str, left: int | None) -> None:
    model = settled(source, name)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    fast = folded(model, (3, 32, 32), EVERYTHING)
    assert count(fast) < count(model)
    if left is not None:
        assert count(fast) == left
    images = torch.randn(4, 3, 32, 32)
    with torch.no_grad(), Network(model, EVERYTHING) as plain, Network(fast, EVERYTHING) as quick:
        expected, found = plain(images), quick(images)
    pairs = zip(
        [expected.logits, expected.penultimate, *expected.maps, *expected.preactivations],
        [found.logits, found.penultimate, *found.maps, *found.preactivations],
        strict=True,
    )
    for one, other in pairs:
        assert one is not None
        torch.testing.assert_close(other, one, rtol=1e-3, atol=1e-3 * one.abs().max().item())
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert not any(parameter.requires_grad for parameter in fast.parameters())


class Sharing(nn.Module):
    """Reads a convolution's output twice: once through the batch norm, once without."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.head = nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Linear(8, 5)
        nn.init.constant_(self.norm.bias, 3)

    def forward(self, images: Tensor) -> Tensor:
        features = self.conv(images)
        logits: Tensor = self.head((features + self.norm(features)).mean((2, 3)))
        return logits


class Twice(nn.Module):
    """One convolution for two batch norms."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.first, self.second = nn.Conv2d(3, 3, 3), nn.BatchNorm2d(3), nn.BatchNorm2d(3)

    def forward(self, images: Tensor) -> Tensor:
        return self.second(self.conv(self.first(self.conv(images)))).mean((2, 3))


@pytest.mark.parametrize("model", [Sharing(), Twice(), nn.Sequential(nn.Flatten(), nn.Linear(192, 4))])
def test_what_cannot_be_folded_is_left(model: nn.Module) -> None:
    fast = folded(model, (3, 8, 8))
    assert count(fast) == count(model)
    images = torch.randn(2, 3, 8, 8)
    assert torch.equal(fast(images), model.eval()(images))


@pytest.mark.parametrize("name", ["resnet14", "vgg8", "shufflenet_v2"])
def test_weights_that_were_cast_before_give_the_same_bits(name: str) -> None:
    model = folded(build_model("zoo", name, 10), (3, 32, 32), Needs(penultimate=True))
    images = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad(), Network(model, Needs(penultimate=True), "bf16") as network:
        expected = network(images)
        cast_once(model)
        found = network(images)
    assert next(module for module in model.modules() if isinstance(module, nn.Conv2d)).weight.dtype == torch.bfloat16
    assert torch.equal(found.logits, expected.logits)
    assert found.penultimate is not None
    assert torch.equal(found.penultimate, expected.penultimate)
