"""Feature losses against the golden numbers of the method notes, section 11 (float64), and what they owe to theory."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from golden import golden
from torch import Tensor, nn

from rlkd_run.config.methods import CCOptions, FeatureOptions, FitNetOptions, ReviewKDOptions
from rlkd_run.errors import ConfigError
from rlkd_run.methods.at import AT, attention_loss
from rlkd_run.methods.base import Setting
from rlkd_run.methods.cc import CC, congruence_loss
from rlkd_run.methods.features import BatchNorm, shrunk, stages
from rlkd_run.methods.fitnet import FitNet
from rlkd_run.methods.nst import selectivity_loss
from rlkd_run.methods.pkt import transfer_loss
from rlkd_run.methods.reviewkd import ReviewKD, hierarchical_loss
from rlkd_run.methods.rkd import angle_loss, differences, distance_loss
from rlkd_run.methods.sp import similarity_loss
from rlkd_run.methods.srrl import SRRL
from rlkd_run.methods.vid import SMALLEST_VARIANCE, GaussianRegression, gaussian_loss
from rlkd_run.models.build import build_model
from rlkd_run.models.features import Network
from rlkd_run.protocol import Batch, Needs, Outputs, Temperatures

FS = torch.tensor([[1, 0], [0, 1], [1, 1]], dtype=torch.float64)
FT = torch.tensor([[1, 0, 0], [1, 1, 0], [0, 1, 1]], dtype=torch.float64)
MS = torch.tensor([[[[1, 2], [3, 4]], [[0, 1], [0, 1]]]], dtype=torch.float64)
MT = torch.tensor([[[[2, 0], [0, 2]], [[1, 1], [1, 1]]]], dtype=torch.float64)
PLAIN = (0.1, 0.9, 1.0, False)


def rkd_losses(student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    ours, theirs = differences(student), differences(teacher)
    return 25 * distance_loss(ours, theirs), 50 * angle_loss(ours, theirs)


def setting(student: nn.Module, teacher: nn.Module, size: int = 32) -> Setting:
    return Setting(student, teacher, 10, 20, (3, size, size), 240)


def zoo(student: str, teacher: str, size: int = 32) -> Setting:
    return setting(build_model("zoo", student, 10), build_model("zoo", teacher, 10), size)


def parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_pkt() -> None:
    assert transfer_loss(FS, FT).item() == golden("0.0156060")


def test_sp() -> None:
    assert similarity_loss(FS, FT).item() == golden("0.1602453")


def test_rkd() -> None:
    distance, angle = rkd_losses(FS, FT)
    assert distance.item() == golden("1.1962130")
    assert angle.item() == golden("2.1916730")
    assert (distance + angle).item() == golden("3.3878860")


def test_cc() -> None:
    assert congruence_loss(F.pad(FS, (0, 1)), FT).item() == golden("0.5")


def test_at() -> None:
    assert attention_loss(MS, MT).item() == golden("0.1376285")


def test_nst() -> None:
    assert selectivity_loss(MS, MT).item() == golden("0.55")


@pytest.mark.parametrize("variance", [0.001, 5.0, 1e4])
def test_vid_starts_with_the_variance_that_is_asked_for(variance: float) -> None:
    scale = GaussianRegression(3, 2, variance).log_scale
    assert (torch.nn.functional.softplus(scale) + SMALLEST_VARIANCE).tolist() == pytest.approx([variance] * 2)


def test_vid_at_the_start() -> None:
    regression = GaussianRegression(2, 2, 5.0).double()
    assert regression.log_scale[0].item() == pytest.approx(4.993229, abs=5e-7)
    assert gaussian_loss(MT, MT, regression.log_scale).item() == golden("0.804719")


@pytest.mark.parametrize("loss", [transfer_loss, similarity_loss, lambda a, b: sum(rkd_losses(a, b)), congruence_loss])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_equal_vectors_give_no_loss(loss: object, dtype: torch.dtype) -> None:
    student = torch.randn(6, 5, dtype=dtype, generator=torch.Generator().manual_seed(0))
    _no_loss(loss, student)


@pytest.mark.parametrize("loss", [attention_loss, selectivity_loss, similarity_loss, hierarchical_loss])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_equal_maps_give_no_loss(loss: object, dtype: torch.dtype) -> None:
    student = torch.randn(4, 3, 6, 6, dtype=dtype, generator=torch.Generator().manual_seed(0))
    _no_loss(loss, student)


def _no_loss(loss: object, features: Tensor) -> None:
    student = features.clone().requires_grad_()
    value = loss(student, features)  # type: ignore[operator]
    value.backward()
    tiny = 1e-6 if features.dtype == torch.float32 else 1e-14
    assert abs(value.item()) < tiny
    assert student.grad is not None
    # PKT's epsilon, 1e-7 beside probabilities, moves its minimum by as much.
    assert student.grad.abs().max().item() < (1e-7 if loss is transfer_loss else tiny)


def test_features_that_are_zero_have_a_finite_gradient() -> None:
    """A ReLU may silence an image, and a batch may hold it twice."""
    other = torch.randn(4, 5)
    for loss in (transfer_loss, similarity_loss, lambda a, b: sum(rkd_losses(a, b)), congruence_loss):
        student = torch.zeros(4, 5, requires_grad=True)
        loss(student, other).backward()
        assert student.grad is not None
        assert torch.isfinite(student.grad).all()
    for loss in (attention_loss, selectivity_loss, hierarchical_loss):
        student = torch.zeros(2, 3, 4, 4, requires_grad=True)
        loss(student, torch.randn(2, 3, 4, 4)).backward()
        assert student.grad is not None
        assert torch.isfinite(student.grad).all()


def test_a_batch_of_one_image() -> None:
    for loss in (transfer_loss, similarity_loss, congruence_loss, lambda a, b: sum(rkd_losses(a, b))):
        assert math.isfinite(loss(torch.randn(1, 3), torch.randn(1, 3)))


def test_hierarchical_loss_is_the_weighted_mean_of_its_grids() -> None:
    student, teacher = torch.randn(2, 2, 3, 8, 8, dtype=torch.float64)
    levels = [student - teacher, *(F.adaptive_avg_pool2d(student - teacher, grid) for grid in (4, 2, 1))]
    expected = sum(2.0**-i * level.square().mean() for i, level in enumerate(levels)) / 1.875
    assert hierarchical_loss(student, teacher).item() == pytest.approx(float(expected))
    small = (student - teacher)[:, :, :1, :1]
    assert hierarchical_loss(student[:, :, :1, :1], teacher[:, :, :1, :1]).item() == pytest.approx(
        small.square().mean().item()
    )


@pytest.mark.parametrize("size", [(1, 1), (2, 4), (3, 5), (4, 2), (7, 9)])
def test_shrunk_is_adaptive_average_pooling(size: tuple[int, int]) -> None:
    maps = torch.randn(2, 3, 8, 12, dtype=torch.float64)
    torch.testing.assert_close(shrunk(maps, size), F.adaptive_avg_pool2d(maps, size))
    assert shrunk(maps, (8, 12)) is maps


def test_maps_of_two_sizes() -> None:
    maps = torch.randn(2, 3, 8, 8)
    coarse = F.avg_pool2d(maps, 2)
    assert attention_loss(maps, coarse).item() == pytest.approx(0, abs=1e-12)
    assert selectivity_loss(coarse, maps).item() == pytest.approx(0, abs=1e-6)


def test_the_deepest_stages_belong_together() -> None:
    a, b, c, d = (torch.full((1, 1, 1, 1), float(i)) for i in range(4))
    assert stages((a, b, c, d), (a, c, d)) == [(c, c), (d, d)]


def test_a_lone_value_is_normalised_by_the_running_statistics() -> None:
    norm, plain = BatchNorm(3), nn.BatchNorm2d(3)
    many = torch.randn(4, 3, 2, 2)
    assert torch.equal(norm(many), plain(many))
    lone = torch.randn(1, 3, 1, 1)
    assert torch.equal(norm(lone), plain.eval()(lone))
    assert norm.num_batches_tracked == 1


@pytest.mark.parametrize(
    ("student", "teacher", "kind", "kernel"),
    [
        ("resnet8", "resnet14", nn.Conv2d, (1, 1)),
        ("shufflenet_v1", "resnet8", nn.ConvTranspose2d, (4, 4)),  # 8 pixels and 16
        ("resnet8", "mobilenet_v2", nn.Conv2d, (3, 3)),  # 16 and 8
        ("resnet8", "resnet18_imagenet", nn.Conv2d, (13, 13)),  # 16 and 4
        ("resnet18_imagenet", "resnet8", nn.Conv2d, (1, 1)),  # 4 and 16: the hint is averaged
    ],
)
def test_fitnet_regressor(student: str, teacher: str, kind: type[nn.Module], kernel: tuple[int, int]) -> None:
    where = zoo(student, teacher)
    method = FitNet(FitNetOptions("fitnet", *PLAIN, hint_layer=2), where)
    layer = method.regressor[0]
    assert isinstance(layer, kind)
    assert layer.kernel_size == kernel
    images = torch.randn(2, 3, 32, 32)
    ours, theirs = (Network(model, Needs(maps=True))(images) for model in (where.student, where.teacher))
    assert method.regressor(ours.maps[2]).shape == shrunk(theirs.maps[2], method.hint_size).shape


def test_parameter_counts_of_the_modules() -> None:
    where = zoo("resnet8", "resnet8x4")  # 64 and 256 wide; stages 16, 32, 64 and 64, 128, 256
    build = {
        "cc": CC(CCOptions("cc", *PLAIN, embedding=128), where),
        "srrl": SRRL(FeatureOptions("srrl", *PLAIN), where),
        "fitnet": FitNet(FitNetOptions("fitnet", *PLAIN, hint_layer=2), where),
        "review": ReviewKD(ReviewKDOptions("reviewkd", *PLAIN, max_width=512, warmup_epochs=20), where),
    }
    assert parameters(build["cc"]) == (64 + 1) * 128 + (256 + 1) * 128
    assert parameters(build["srrl"]) == 64 * 256 + 2 * 256
    assert parameters(build["fitnet"]) == 32 * 128 + 128 + 2 * 128
    width = 64
    fusions = [
        student * width + 2 * width + 9 * width * teacher + 2 * teacher
        for student, teacher in [(64, 256), (64, 256), (32, 128), (16, 64)]
    ]
    assert parameters(build["review"]) == sum(fusions) + 3 * (2 * 2 * width + 2)
    assert parameters(GaussianRegression(16, 64, 5.0)) == 16 * 64 + 2 * 64 * 64 + 64


def test_srrl_sees_the_weights_that_the_teacher_gets_later() -> None:
    where = zoo("resnet8", "resnet14")
    method = SRRL(FeatureOptions("srrl", *PLAIN), where)
    assert not any("classifier" in name for name in method.state_dict())
    classifier = Network(where.teacher).classifier
    with torch.no_grad():
        classifier.weight.normal_()
    features = torch.randn(4, 64)
    student, teacher = Outputs(torch.zeros(4, 10), features), Outputs(torch.zeros(4, 10), features)
    method.connector = nn.Identity()  # phi that changes nothing: only the difference of the logits is left
    batch = Batch(torch.zeros(4, 3, 1, 1), torch.arange(4), torch.arange(4))
    expected = classifier(features).square().mean().item()
    assert method.feature_loss(student, teacher, batch).item() == pytest.approx(expected)
    assert classifier.weight.grad is None


def test_reviewkd_warms_up() -> None:
    where = zoo("resnet8", "resnet14", size=8)
    method = ReviewKD(ReviewKDOptions("reviewkd", *PLAIN, max_width=512, warmup_epochs=20), where).eval()
    images = torch.randn(2, 3, 8, 8)
    student, teacher = (Network(model.eval(), method.needs)(images) for model in (where.student, where.teacher))
    batch = Batch(images, torch.arange(2), torch.arange(2))

    def feature(epoch: int) -> float:
        parts = method(student, teacher, batch, Temperatures.equal(torch.tensor(4.0)), epoch)
        return parts["feature"].item()

    assert feature(1) == pytest.approx(feature(20) / 20)
    assert feature(10) == pytest.approx(feature(20) / 2)
    assert feature(240) == feature(20)


def test_reviewkd_compares_with_the_teachers_maps_before_activation() -> None:
    where = zoo("resnet8", "resnet14", size=8)
    method = ReviewKD(ReviewKDOptions("reviewkd", *PLAIN, max_width=512, warmup_epochs=20), where).eval()
    images = torch.randn(2, 3, 8, 8)
    student, teacher = (Network(model.eval(), method.needs)(images) for model in (where.student, where.teacher))
    batch = Batch(images, torch.arange(2), torch.arange(2))
    activated = teacher._replace(maps=(), preactivations=teacher.maps)
    assert method.feature_loss(student, teacher, batch) != method.feature_loss(student, activated, batch)


class NoStages(nn.Module):
    """A network with one map only, and none that is a classifier's input of its own."""

    map_modules = ("conv",)

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, images: Tensor) -> Tensor:
        answer: Tensor = self.conv(images).mean((2, 3))
        return answer


def test_networks_without_what_is_needed_are_refused() -> None:
    resnet, bare = build_model("zoo", "resnet8", 10), NoStages()
    options = FeatureOptions("x", *PLAIN)
    with pytest.raises(ConfigError, match=r"^student.model has no feature map after its first"):
        AT(options, setting(bare, resnet))
    with pytest.raises(ConfigError, match=r"^teacher.model: NoStages does not end in one linear layer"):
        SRRL(options, setting(resnet, bare))
    with pytest.raises(ConfigError, match=r"hint_layer=4 .* valid: 0 to 3"):
        FitNet(FitNetOptions("fitnet", *PLAIN, hint_layer=4), setting(resnet, resnet))
    transformer = build_model("timm", "vit_tiny_patch16_224", 10, image_size=(32, 32))
    with pytest.raises(ConfigError, match=r"^student.model: vit_tiny_patch16_224 has no spatial feature maps"):
        AT(options, setting(transformer, resnet))
