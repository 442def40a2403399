"""DiffKD: the sampler and the sizes in numbers, and which loss trains what."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from golden import golden
from torch import Tensor, nn

from rlkd_run.config.methods import DiffKDOptions
from rlkd_run.methods.base import Setting
from rlkd_run.methods.diffkd import Autoencoder, DiffKD
from rlkd_run.methods.diffusion import SIGNAL, Denoiser, NoiseAdapter, denoised
from rlkd_run.methods.logits import standardise
from rlkd_run.models.build import build_model
from rlkd_run.protocol import Batch, Outputs, Temperatures

OPTIONS = DiffKDOptions("diffkd", 1.0, 1.0, 1.0, False, inference_steps=5, autoencoder_width=4)
BATCH = Batch(torch.zeros(3, 3, 8, 8), torch.tensor([0, 1, 2]), torch.arange(3))


def parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def diffkd(**changes: object) -> DiffKD:
    torch.manual_seed(0)
    student, teacher = (build_model("zoo", name, 10) for name in ("resnet8", "resnet8"))
    options = dataclasses.replace(OPTIONS, **changes)  # type: ignore[arg-type]
    return DiffKD(options, Setting(student, teacher, 10, 20, (3, 8, 8), 240)).double()


def outputs(size: int = 3, side: int = 2) -> tuple[Outputs, Outputs]:
    generator = torch.Generator().manual_seed(1)

    def random(*shape: int) -> Tensor:
        return torch.randn(*shape, dtype=torch.float64, generator=generator)

    student = Outputs(random(size, 10).requires_grad_(), None, (random(size, 64, 2, 2).requires_grad_(),))
    return student, Outputs(random(size, 10), None, (random(size, 64, side, side),))


def parts_of(method: DiffKD, student: Outputs, teacher: Outputs, temperature: float = 1.0) -> dict[str, Tensor]:
    torch.manual_seed(2)
    one: dict[str, Tensor] = method(student, teacher, BATCH, Temperatures.equal(torch.tensor(temperature)), 1)
    return one


def test_signal() -> None:
    table = {0: "0.9999", 100: "0.895141", 200: "0.656347", 300: "0.394011", 400: "0.193572", 999: "0.000040"}
    assert len(SIGNAL) == 1000
    assert {t: SIGNAL[t] for t in table} == {t: golden(text) for t, text in table.items()}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_sampler(dtype: torch.dtype) -> None:
    clean, noise = torch.randn(2, 2, 3, 4, 4, dtype=dtype, generator=torch.Generator().manual_seed(0))
    noisy = SIGNAL[400] ** 0.5 * clean + (1 - SIGNAL[400]) ** 0.5 * noise
    found = denoised(lambda _z, _t: noise, noisy, 5)
    tolerance = 1e-13 if dtype == torch.float64 else 1e-5
    torch.testing.assert_close(found, clean, rtol=0, atol=tolerance)
    factor = denoised(lambda z, _t: torch.zeros_like(z), torch.ones(1, 1, 1, 1, dtype=dtype), 5)
    assert factor.dtype == dtype
    assert factor.item() == golden("2.2728918")
    shift = denoised(lambda z, _t: torch.ones_like(z), torch.zeros(1, 1, 1, 1, dtype=dtype), 5)
    assert shift.item() == golden("-2.0410873")


@pytest.mark.parametrize(("steps", "expected"), [(5, [400, 300, 200, 100, 0]), (1, [0]), (2, [250, 0])])
def test_the_less_noisy_half_of_the_steps(steps: int, expected: list[int]) -> None:
    seen: list[Tensor] = []

    def model(features: Tensor, t: Tensor) -> Tensor:
        seen.append(t)
        return torch.zeros_like(features)

    denoised(model, torch.ones(2, 1, 1, 1), steps)
    assert [t.tolist() for t in seen] == [[t, t] for t in expected]
    assert all(t.dtype == torch.int64 for t in seen)


def test_all_steps_that_can_be_asked_for() -> None:
    found = denoised(lambda z, _t: torch.zeros_like(z), torch.ones(1, 1, 1, 1, dtype=torch.float64), 500)
    assert found.item() == pytest.approx(SIGNAL[499] ** -0.5)


@pytest.mark.parametrize(
    ("student", "teacher", "kernel", "width", "count"),
    [
        (512, 512, 3, 1024, 7_644_418),
        (1024, 2048, 3, 1024, 11_315_970),
        (64, 64, 3, 1024, 6_267_714),
        (64, 64, 3, 0, 105_906),
        (1000, 1000, 1, 0, 23_323_002),
        (100, 100, 1, 0, 352_302),
    ],
)
def test_parameter_counts(student: int, teacher: int, kernel: int, width: int, count: int) -> None:
    modules: list[nn.Module] = [Denoiser(student, width or teacher, kernel=kernel, steps=5)]
    modules += [Autoencoder(teacher, width)] if width else []
    assert sum(map(parameters, modules)) == count


def test_the_adapter_mixes_features_and_noise_by_one_share_an_image() -> None:
    torch.manual_seed(0)
    adapter = NoiseAdapter(4, kernel=3)
    adapter.share.weight.data.zero_()
    adapter.share.bias.data = torch.tensor([0.0, math.log(3)])
    features = torch.randn(2, 4, 3, 3)
    torch.manual_seed(1)
    mixed = adapter(features)
    torch.manual_seed(1)
    torch.testing.assert_close(mixed, 0.25 * features + 0.75 * torch.randn_like(features))


def test_denoising_loss_is_that_of_the_drawn_noise() -> None:
    """A model that finds no noise errs by the noise itself."""
    denoiser = Denoiser(4, 4, kernel=3, steps=5).double()
    seen: dict[str, Tensor] = {}

    class Silent(nn.Module):
        def forward(self, features: Tensor, t: Tensor) -> Tensor:
            seen.update(features=features, t=t)
            return torch.zeros_like(features)

    denoiser.noise_model = Silent()  # type: ignore[assignment]
    target = torch.randn(64, 4, 3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    torch.manual_seed(3)
    loss = denoiser.denoising_loss(target)
    signal = torch.tensor(SIGNAL, dtype=torch.float64)[seen["t"]][:, None, None, None]
    drawn = (seen["features"] - signal.sqrt() * target) / (1 - signal).sqrt()
    assert loss.item() == pytest.approx(drawn.square().mean().item())
    assert loss.item() == pytest.approx(1, abs=0.1)
    assert drawn.std().item() == pytest.approx(1, abs=0.1)
    assert len(seen["t"].unique()) > 32


TRAINS = {
    "reconstruction": {"autoencoder"},
    "feature": {"map_denoiser", "map"},
    "denoising": {"map_denoiser.noise_model", "logit_denoiser.noise_model"},
    "kl": {"logit_denoiser", "logits"},
}


@pytest.mark.parametrize("part", TRAINS)
def test_which_loss_trains_what(part: str) -> None:
    method = diffkd()
    student, teacher = outputs()
    parts_of(method, student, teacher)[part].backward()
    got = {name for name, value in method.named_parameters() if value.grad is not None}
    got |= {name for name, value in (("map", student.maps[0]), ("logits", student.logits)) if value.grad is not None}
    named = [*(name for name, _ in method.named_parameters()), "map", "logits"]
    assert got == {name for name in named if any(f"{name}.".startswith(f"{root}.") for root in TRAINS[part])}


def test_parts_and_their_weights() -> None:
    student, teacher = outputs()
    one = parts_of(diffkd(), student, teacher)
    assert list(one) == ["ce", "reconstruction", "feature", "denoising", "kl"]
    weighted = parts_of(diffkd(ce_weight=2.0, kl_weight=3.0, feature_weight=5.0), student, teacher)
    for name, weight in (("ce", 2), ("reconstruction", 5), ("feature", 5), ("kl", 3)):
        assert weighted[name].item() == pytest.approx(weight * one[name].item())
    of_map, of_logits = (
        parts_of(diffkd(kl_weight=kl, feature_weight=feature), student, teacher)["denoising"].item()
        for kl, feature in ((0.0, 1.0), (1.0, 0.0))
    )
    assert one["denoising"].item() == pytest.approx(of_map + of_logits)
    assert weighted["denoising"].item() == pytest.approx(5 * of_map + 3 * of_logits)


def test_without_an_autoencoder_maps_are_compared_at_the_teachers_width() -> None:
    method = diffkd(autoencoder_width=0)
    assert method.map_denoiser.align.out_channels == 64
    assert parts_of(method, *outputs()).keys() == {"ce", "feature", "denoising", "kl"}


def test_without_the_divergence_logits_are_not_denoised() -> None:
    method = diffkd(kl_weight=0.0)
    assert not any(name.startswith("logit") for name in method.state_dict())
    student, teacher = outputs()
    parts = parts_of(method, student, teacher)
    assert parts.keys() == {"ce", "reconstruction", "feature", "denoising"}
    full = parts_of(diffkd(), student, teacher)
    assert torch.equal(parts["feature"], full["feature"])


def test_the_temperatures_soften_the_denoised_logits() -> None:
    method, (student, teacher) = diffkd().eval(), outputs()
    cool, warm = (parts_of(method, student, teacher, temperature) for temperature in (1.0, 4.0))
    assert cool["kl"] != warm["kl"]
    assert all(torch.equal(cool[name], warm[name]) for name in cool.keys() - {"kl"})
    assert method.student_logits(student) is student.logits


def test_standardised_logits_are_what_is_denoised() -> None:
    student, teacher = outputs()
    plain = parts_of(diffkd(), *(one._replace(logits=standardise(one.logits)) for one in (student, teacher)))
    parts = parts_of(diffkd(standardise=True), student, teacher)
    assert all(torch.equal(parts[name], plain[name]) for name in ("kl", "denoising"))
    assert parts["ce"] != plain["ce"]


def test_the_teachers_larger_map_is_averaged() -> None:
    student, teacher = outputs(side=4)
    coarse = teacher._replace(maps=(nn.functional.avg_pool2d(teacher.maps[0], 2),))
    parts, expected = parts_of(diffkd(), student, teacher), parts_of(diffkd(), student, coarse)
    assert all(torch.equal(parts[name], expected[name]) for name in parts)
