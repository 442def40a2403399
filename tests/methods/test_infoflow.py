"""Information flow: its losses in numbers, what they owe to theory, and the weight of the stages by epoch."""

from __future__ import annotations

import math

import pytest
import torch
from composed import composed
from golden import golden
from torch import Tensor, nn

from rlkd_run.config.methods import InfoFlowOptions
from rlkd_run.errors import ConfigError
from rlkd_run.methods.base import Setting
from rlkd_run.methods.infoflow import InfoFlow, jeffreys_divergence, kernels, layer_loss
from rlkd_run.models.build import build_model
from rlkd_run.protocol import Batch, Outputs, Temperatures

FS = torch.tensor([[1, 0], [0, 1], [1, 1]], dtype=torch.float64)
FT = torch.tensor([[1, 0, 0], [1, 1, 0], [0, 1, 1]], dtype=torch.float64)


def random(*shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(0))


def infoflow(decay_epochs: float = 5) -> InfoFlow:
    student, teacher = (build_model("zoo", name, 10) for name in ("resnet8", "resnet14"))
    options = InfoFlowOptions("infoflow", 0.1, 0.9, 2.0, False, 100.0, 0.7, decay_epochs, None)
    return InfoFlow(options, Setting(student, teacher, 10, 20, (3, 8, 8), 240))


def test_losses() -> None:
    cosine, student_t = (jeffreys_divergence(*pair) for pair in zip(kernels(FS), kernels(FT), strict=True))
    assert cosine.item() == golden("0.0310538")
    assert student_t.item() == golden("0.0071112")
    assert layer_loss(FS, FT).item() == golden("0.0381650")


def test_kernels_are_those_of_the_definition() -> None:
    features = random(5, 7)
    direction = features / (features.norm(dim=1, keepdim=True) + 1e-6)
    distance = ((features[:, None] - features).square().sum(2) + 1e-6).sqrt()
    cosine, student_t = kernels(features)
    torch.testing.assert_close(cosine, (direction @ direction.T + 1) / 2)
    torch.testing.assert_close(student_t, 1 / (1 + distance))
    assert student_t.diagonal().tolist() == [1 / 1.001] * 5


def test_a_rotation_changes_nothing_and_the_sides_are_alike() -> None:
    student, teacher = random(6, 5), random(6, 9)
    rotation, _ = torch.linalg.qr(random(5, 5))
    assert layer_loss(student @ rotation, teacher).item() == pytest.approx(layer_loss(student, teacher).item())
    assert layer_loss(teacher, student).item() == pytest.approx(layer_loss(student, teacher).item())


def test_a_scale_changes_only_the_student_t_kernel() -> None:
    (cosine, student_t), (same, other) = kernels(FS), kernels(3 * FS)
    torch.testing.assert_close(cosine, same, rtol=1e-5, atol=0)
    assert (student_t - other).abs().max() > 0.1


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_equal_features_give_no_loss(dtype: torch.dtype) -> None:
    features = random(6, 3, 4, 4, dtype=dtype)
    student = features.clone().requires_grad_()
    loss = layer_loss(student, features)
    loss.backward()
    assert loss.dtype == dtype
    assert loss.item() == 0
    assert student.grad is not None
    assert student.grad.abs().max() == 0


def test_gradient() -> None:
    student, teacher = random(4, 3).requires_grad_(), random(4, 5).flip(0)
    assert torch.autograd.gradcheck(lambda features: layer_loss(features, teacher), student)


def test_features_that_are_zero_equal_or_opposite_have_a_finite_gradient() -> None:
    features = random(4, 5, dtype=torch.float32)
    for student in (torch.zeros(4, 5), features[:1].repeat(4, 1), torch.cat([features[:2], -features[:2]])):
        student = student.requires_grad_()
        loss = layer_loss(student, features)
        loss.backward()
        assert torch.isfinite(loss)
        assert student.grad is not None
        assert torch.isfinite(student.grad).all()
    assert layer_loss(features[:1], 2 * features[:1]).item() == 0


def test_near_images_far_from_the_origin_keep_their_distance() -> None:
    """Products of float32 would lose it."""
    features = 100 + 1e-3 * random(8, 4096, dtype=torch.float32)
    exact = ((features.double()[:, None] - features.double()).square().sum(2) + 1e-6).sqrt()
    torch.testing.assert_close(kernels(features)[1], 1 / (1 + exact), rtol=1e-5, atol=0)


def test_nothing_hides_a_feature_that_is_not_finite() -> None:
    student = FS.clone()
    student[0, 0] = math.nan
    assert math.isnan(layer_loss(student, FT))


def test_the_authors_weights_in_their_50_epochs() -> None:
    config = composed("method=infoflow", "temperature=fixed", "recipe.epochs=50")
    method = infoflow(config.method.decay_epochs)
    table = {1: "100.0", 2: "70.0", 3: "49.0", 4: "34.3", 5: "24.0", 6: "16.8", 11: "2.82", 14: "0.97", 21: "0.08"}
    assert {epoch: method.stage_weight(epoch) for epoch in table} == {e: golden(text) for e, text in table.items()}


def test_weights_in_240_epochs() -> None:
    config = composed("method=infoflow", "temperature=fixed", "recipe.epochs=240")
    method = infoflow(config.method.decay_epochs)
    assert [method.stage_weight(epoch) for epoch in (1, 6, 11)] == pytest.approx([100, 70, 49])


def test_the_stages_have_the_weight_of_the_epoch_and_the_penultimate_features_have_weight_1() -> None:
    method = infoflow()
    maps = [random(4, width, side, side) for width, side in ((3, 8), (5, 8), (6, 4), (7, 2))]
    student = Outputs(random(4, 10), random(4, 5), tuple(maps))
    teacher = Outputs(random(4, 10), random(4, 9), tuple(one.flip(0, 1) for one in maps))
    batch = Batch(torch.zeros(4, 3, 8, 8), torch.arange(4), torch.arange(4))
    last = layer_loss(random(4, 5), random(4, 9))
    stages = sum(layer_loss(ours, theirs) for ours, theirs in zip(student.maps[1:], teacher.maps[1:], strict=True))
    for epoch, weight in ((1, 100), (6, 70)):
        parts = method(student, teacher, batch, Temperatures.equal(torch.tensor(4.0)), epoch)
        assert parts["feature"].item() == pytest.approx((2 * (last + weight * stages)).item())


class OneMap(nn.Module):
    """A network that has no map after its first."""

    map_modules = ("conv",)

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, images: Tensor) -> Tensor:
        answer: Tensor = self.conv(images).mean((2, 3))
        return answer


def test_a_network_without_stages_is_refused() -> None:
    setting = Setting(OneMap(), build_model("zoo", "resnet8", 10), 10, 20, (3, 8, 8), 240)
    with pytest.raises(ConfigError, match=r"^student.model has no feature map after its first"):
        InfoFlow(InfoFlowOptions("infoflow", 0.1, 0.9, 1.0, False, 100.0, 0.7, 5.0, None), setting)
