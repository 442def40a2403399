"""Methods on logits against the golden numbers of the method notes, sections 1 and 11 (float64), and at the edges."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest
import torch
from composed import composed
from golden import BATCH, U, V, Y, golden
from torch import Tensor, nn

from rlkd_run.config.methods import DISTOptions, DKDOptions, DTKDOptions, KDOptions, TTMOptions
from rlkd_run.errors import ConfigError
from rlkd_run.methods.base import Method, Setting, softened_divergence
from rlkd_run.methods.dist import DIST, correlation_losses
from rlkd_run.methods.dkd import DKD, _decoupled, decoupled_divergences
from rlkd_run.methods.dtkd import DTKD
from rlkd_run.methods.kd import KD
from rlkd_run.methods.logits import standardise, warm_up
from rlkd_run.methods.ttm import TTM
from rlkd_run.methods.wttm import WTTM
from rlkd_run.protocol import Batch, Outputs, Temperatures


def setting(classes: int = 4) -> Setting:
    nothing = nn.Identity()
    return Setting(nothing, nothing, classes, 2, (3, 1, 1), 240)


def equal(*values: float) -> Temperatures:
    return Temperatures.equal(torch.tensor(values if len(values) > 1 else values[0], dtype=torch.float64))


def dkd(alpha: float = 1.0, beta: float = 8.0, *, standardise: bool = False, classes: int = 4) -> DKD:
    return DKD(DKDOptions("dkd", 1.0, alpha, beta, 20, standardise), setting(classes))


def dtkd(*, standardise: bool = False) -> DTKD:
    return DTKD(DTKDOptions("dtkd", 1.0, 3.0, 1.0, 4.0, 20, standardise), setting())


def dist(inter: float = 1.0, intra: float = 1.0, *, standardise: bool = False) -> DIST:
    return DIST(DISTOptions("dist", 1.0, inter, intra, standardise), setting())


def ttm(gamma: float, kind: type[TTM] = TTM, *, standardise: bool = False) -> TTM:
    return kind(TTMOptions("ttm", 1.0, 1.0, gamma, standardise), setting())


def kd(*, standardise: bool) -> KD:
    return KD(KDOptions("kd", 0.1, 9.0, standardise), setting())


METHODS: dict[str, Callable[[bool], Method]] = {
    "kd": lambda z: kd(standardise=z),
    "dkd": lambda z: dkd(standardise=z),
    "dtkd": lambda z: dtkd(standardise=z),
    "dist": lambda z: dist(standardise=z),
    "ttm": lambda z: ttm(0.1, standardise=z),
    "wttm": lambda z: ttm(0.1, WTTM, standardise=z),
}
EVERY_METHOD = pytest.mark.parametrize("make", METHODS.values(), ids=METHODS)


def parts(
    method: Method, temperatures: Temperatures, epoch: int = 240, u: Tensor = U, v: Tensor = V
) -> dict[str, Tensor]:
    return method(Outputs(u), Outputs(v), BATCH, temperatures, epoch)


def total(values: dict[str, Tensor]) -> Tensor:
    return torch.stack(list(values.values())).sum()


# --- DKD --------------------------------------------------------------------------------------------------------------


def test_dkd_parts() -> None:
    pair, _ = _decoupled(V / 4, Y)
    for probability, text in zip(pair.exp()[:, 0].tolist(), ("0.4702008", "0.3534716"), strict=True):
        assert probability == golden(text)
    tckd, nckd = (part / 16 for part in decoupled_divergences(V, U, Y, equal(4)))
    assert [*tckd.tolist(), *nckd.tolist()] == [
        golden("0.0401059"),
        golden("0.0158146"),
        golden("0.0018882"),
        golden("0.0047623"),
    ]
    values = parts(dkd(), equal(4))
    assert values["tckd"].item() == golden("0.4473639")
    assert values["nckd"].item() / 8 == golden("0.0532046")
    assert (values["tckd"] + values["nckd"]).item() == golden("0.8730009")
    assert values["ce"].item() == golden("0.8648802")


@pytest.mark.parametrize(
    "temperatures", [equal(1), equal(4), equal(2, 5), Temperatures(equal(5, 2)[0], equal(3, 4)[0])]
)
def test_dkd_parts_add_up_to_the_divergence(temperatures: Temperatures) -> None:
    tckd, nckd = decoupled_divergences(V, U, Y, temperatures)
    p_y = (V / temperatures.teacher.reshape(-1, 1)).softmax(1).gather(1, Y[:, None]).squeeze(1)
    assert torch.allclose(tckd + (1 - p_y) * nckd, softened_divergence(V, U, temperatures), rtol=1e-12)


@pytest.mark.parametrize(("epoch", "factor"), [(1, 0.05), (10, 0.5), (20, 1), (240, 1)])
def test_divergences_warm_up_and_cross_entropy_does_not(epoch: int, factor: float) -> None:
    assert warm_up(epoch, 20) == factor
    for method in (dkd(), dtkd()):
        early, late = parts(method, equal(4), epoch), parts(method, equal(4))
        assert early["ce"].item() == late["ce"].item()
        for name in early.keys() - {"ce"}:
            assert early[name].item() == pytest.approx(factor * late[name].item(), rel=1e-12)


def test_dkd_refuses_two_classes() -> None:
    with pytest.raises(ConfigError, match="takes at least three classes; the data set has 2"):
        dkd(classes=2)
    dkd(classes=3)


@pytest.mark.parametrize("target", [0, 1, 2])
def test_dkd_survives_probabilities_that_underflow(target: int) -> None:
    """q_y = 0, q_y = 1 and p_y = 1 in float32."""
    u = torch.tensor([[1e4, -1e4, 0.0]], requires_grad=True)
    tckd, nckd = decoupled_divergences(-u.detach(), u, torch.tensor([target]), equal(1))
    loss = (tckd + nckd).sum()
    loss.backward()
    assert torch.isfinite(loss)
    assert u.grad is not None
    assert torch.isfinite(u.grad).all()


def by_pair(method: str, pairs: Iterable[str]) -> dict[str, Any]:
    options = {}
    for pair in pairs:
        teacher, student = pair.split("-")
        run = composed(f"method={method}", "temperature=fixed", f"teacher={teacher}", f"student={student}")
        options[pair] = run.method
    return options


def test_dkd_weights_by_pair() -> None:
    plain = by_pair("dkd", ["resnet56-resnet20", "resnet32x4-resnet8x4"])
    assert {pair: options.beta for pair, options in plain.items()} == {
        "resnet56-resnet20": 2,
        "resnet32x4-resnet8x4": 8,
    }
    assert composed("method=dkd", "teacher=resnet32x4", "method.beta=3").method.beta == 3
    published = {
        "resnet56-resnet20": 2, "resnet110-resnet32": 2, "resnet32x4-resnet8x4": 8, "vgg13-vgg8": 6,
        "wrn_40_2-wrn_16_2": 6, "wrn_40_2-wrn_40_1": 6, "resnet32x4-shufflenet_v1": 8, "resnet32x4-shufflenet_v2": 8,
        "vgg13-mobilenet_v2": 6, "resnet50-mobilenet_v2": 8, "wrn_40_2-shufflenet_v1": 8, "resnet50-vgg8": 2,
    }  # fmt: skip
    found = by_pair("dkd_mdistiller", published)
    assert {pair: options.beta for pair, options in found.items()} == published
    assert {(options.alpha, options.warmup_epochs, options.ce_weight) for options in found.values()} == {(1, 20, 1)}


# --- DTKD -------------------------------------------------------------------------------------------------------------

DTKD_TEMPERATURES = Temperatures(
    torch.tensor([16 / 3, 5.0], dtype=torch.float64), torch.tensor([8 / 3, 3.0], dtype=torch.float64)
)


@pytest.mark.parametrize(("epoch", "value"), [(1, "0.9133673"), (20, "1.8346215"), (200, "1.8346215")])
def test_dtkd_total(epoch: int, value: str) -> None:
    values = parts(dtkd(), DTKD_TEMPERATURES, epoch)
    assert total(values).item() == golden(value)


def test_dtkd_parts() -> None:
    values = parts(dtkd(), DTKD_TEMPERATURES)
    assert values["dynamic"].item() / 3 == golden("0.1632475")
    assert values["kl"].item() == golden("0.4799989")


def test_dtkd_weights_by_pair() -> None:
    published = {
        "resnet110-resnet32": (1, 0.5), "resnet56-resnet20": (1, 0.5), "wrn_40_2-wrn_40_1": (1, 0.5),
        "wrn_40_2-wrn_16_2": (3, 1), "resnet32x4-resnet8x4": (3, 1), "vgg13-vgg8": (3, 1),
        "resnet32x4-shufflenet_v1": (3, 1), "resnet32x4-shufflenet_v2": (3, 1), "vgg13-mobilenet_v2": (3, 1),
        "resnet50-mobilenet_v2": (3, 2), "wrn_40_2-shufflenet_v1": (2, 0.5),
    }  # fmt: skip
    found = by_pair("dtkd", published)
    assert {pair: (options.alpha, options.beta) for pair, options in found.items()} == published
    assert {(options.tau, options.warmup_epochs, options.ce_weight) for options in found.values()} == {(4, 20, 1)}


# --- LSKD -------------------------------------------------------------------------------------------------------------


def test_standardised_logits() -> None:
    expected = {
        "teacher": (V, ["1.38873", "0", "-0.46291", "-0.92582"]),
        "student": (U, ["1.20096", "0.240192", "-0.240192", "-1.20096"]),
    }
    for logits, texts in expected.values():
        assert standardise(logits)[0].tolist() == [golden(text) for text in texts]
    assert torch.allclose(standardise(3 * V + 7), standardise(V), rtol=1e-6)


def test_lskd() -> None:
    values = parts(kd(standardise=True), equal(2))
    assert values["kl"].item() / 9 == golden("0.1772347")
    assert values["ce"].item() / 0.1 == golden("0.8648802")  # of the logits as they are


def test_lskd_by_name_is_standardised_kd() -> None:
    method = composed("method=lskd", "temperature=fixed", "temperature.value=2").method
    assert (method.ce_weight, method.kl_weight, method.standardise) == (0.1, 9, True)


def test_equal_logits_have_a_gradient() -> None:
    logits = torch.zeros(2, 10, requires_grad=True)
    scores = standardise(logits)
    (scores * torch.arange(10)).sum().backward()
    assert not scores.any()
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()


@EVERY_METHOD
def test_any_logit_method_can_be_standardised(make: Callable[[bool], Method]) -> None:
    inside = parts(make(True), equal(4))
    outside = parts(make(False), equal(4), u=standardise(U), v=standardise(V))
    for name in inside.keys() - {"ce"}:
        assert torch.equal(inside[name], outside[name])
    assert torch.equal(inside["ce"], parts(make(False), equal(4))["ce"])
    assert torch.equal(make(True).student_logits(Outputs(U)), standardise(U))
    assert torch.equal(make(False).teacher_logits(Outputs(V)), V)


# --- TTM, DIST --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("gamma", "plain", "weighted"),
    [
        (0.1, "0.2097135", "0.6606140"),
        (0.25, "0.1125395", "0.2732180"),
        (0.5, "0.0901132", "0.1548518"),
        (1, "0.3253751", "0.3253751"),
    ],
)
def test_transformed_teacher_matching(gamma: float, plain: str, weighted: str) -> None:
    assert parts(ttm(gamma), equal(4))["kl"].item() == golden(plain)
    assert parts(ttm(gamma, WTTM), equal(4))["kl"].item() == golden(weighted)


def test_weights_of_weighted_teacher_matching() -> None:
    assert ttm(0.1, WTTM).instance_weights(V).tolist() == [golden("2.995968"), golden("3.334281")]


def test_dist() -> None:
    at_1 = parts(dist(), equal(1))
    assert (at_1["inter"] + at_1["intra"]).item() == golden("0.3683012")
    assert at_1["intra"].item() == pytest.approx(0, abs=1e-12)
    at_4 = parts(dist(), equal(4))
    assert (at_4["inter"] + at_4["intra"]).item() == golden("3.8966652")
    assert parts(dist(2, 3), equal(4))["inter"].item() == pytest.approx(2 * at_4["inter"].item())
    assert parts(dist(2, 3), equal(4))["intra"].item() == pytest.approx(3 * at_4["intra"].item())


@pytest.mark.parametrize("student", [torch.zeros(4, 100), torch.full((4, 100), 1e4), torch.zeros(1, 100)])
def test_dist_survives_what_does_not_vary(student: Tensor) -> None:
    """An untrained classifier may give every class the same probability, up to rounding."""
    torch.manual_seed(0)
    u = (student + 1e-6 * torch.randn_like(student)).requires_grad_()
    inter, intra = correlation_losses(torch.randn_like(student), u, equal(4))
    (inter + intra).backward()
    assert torch.isfinite(inter + intra)
    assert u.grad is not None
    assert u.grad.abs().max() < 200  # without a floor of the norms: above 1e5


# --- all of them ------------------------------------------------------------------------------------------------------


@EVERY_METHOD
def test_identical_networks_have_no_loss(make: Callable[[bool], Method]) -> None:
    method = make(False)
    if isinstance(method, TTM):
        method.gamma = 1.0  # any other power transforms the teacher only
    torch.manual_seed(0)
    v = torch.randn(8, 10, dtype=torch.float64)
    u = v.clone().requires_grad_()
    batch = Batch(torch.zeros(8, 3, 1, 1), torch.arange(8), torch.arange(8))
    values = method(Outputs(u), Outputs(v), batch, equal(4), 240)
    loss = total({name: value for name, value in values.items() if name != "ce"})
    loss.backward()
    assert loss.item() == pytest.approx(0, abs=1e-12)
    assert u.grad is not None
    assert u.grad.abs().max().item() < 1e-12


def test_transformed_matching_of_identical_networks_is_no_zero() -> None:
    assert parts(ttm(0.5), equal(1), u=V)["kl"].item() > 0.01


@EVERY_METHOD
@pytest.mark.parametrize("z", [False, True])
def test_a_scalar_temperature_equals_a_tensor_filled_with_it(make: Callable[[bool], Method], z: bool) -> None:
    one, many = parts(make(z), equal(3)), parts(make(z), equal(3, 3))
    assert one.keys() == many.keys()
    for name, value in one.items():
        assert value.shape == ()
        assert value.item() == pytest.approx(many[name].item(), rel=1e-14, abs=1e-15)


@EVERY_METHOD
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("size", [1, 2, 16])
def test_gradient_reaches_the_student_only(make: Callable[[bool], Method], size: int, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    student, teacher = (torch.randn(size, 100, dtype=dtype, requires_grad=True) for _ in range(2))
    batch = Batch(torch.zeros(size, 3, 1, 1), torch.arange(size), torch.arange(size))
    temperatures = Temperatures.equal(torch.rand(size) * 9 + 1)
    values = make(True)(Outputs(student), Outputs(teacher.detach()), batch, temperatures, 1)
    total(values).backward()
    assert student.grad is not None
    assert torch.isfinite(student.grad).all()
    assert student.grad.any()
    assert teacher.grad is None


@EVERY_METHOD
def test_extreme_logits_stay_finite(make: Callable[[bool], Method]) -> None:
    u = torch.tensor([[1e4, -1e4, 0.0, 1.0], [-1e4, -1e4, -1e4, -1e4]], requires_grad=True)
    values = make(False)(Outputs(u), Outputs(-u.detach()), BATCH, equal(1), 240)
    total(values).backward()
    assert torch.isfinite(total(values))
    assert u.grad is not None
    assert torch.isfinite(u.grad).all()
