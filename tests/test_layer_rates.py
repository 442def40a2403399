"""TempBalance: exponents of spectra, factors of learning rates, and which parameters they reach."""

from __future__ import annotations

import math

import pytest
import torch
from composed import composed
from golden import golden
from torch import Tensor, nn
from trainings import training

from rlkd_run.config.run import TempBalanceOptions
from rlkd_run.layer_rates import LayerRates, eigenvalues, hill_exponent, layer_rates, rate_factors
from rlkd_run.models.build import build_model
from rlkd_run.training import Trainer

DEFAULTS = TempBalanceOptions("linear", 0.5, 1.5, 50)


def with_spectrum(values: list[float]) -> Tensor:
    """A square matrix of these eigenvalues (squared singular values), in a random basis."""
    size = len(values)
    left, right = (torch.linalg.qr(torch.randn(size, size, dtype=torch.float64)).Q for _ in range(2))
    return (left @ torch.diag(torch.tensor(values, dtype=torch.float64).sqrt()) @ right).float()


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def test_the_exponent_of_a_spectrum() -> None:
    assert hill_exponent(torch.arange(1.0, 9.0, dtype=torch.float64)) == golden("5.045318")
    assert hill_exponent(eigenvalues(with_spectrum([3, 1, 2, 8, 7, 6, 5, 4]))) == golden("5.045318")


@pytest.mark.parametrize("scale", [1e-30, 1e-21, 1e-3, 1e3, 1e18, 1e30])
def test_the_exponent_does_not_depend_on_the_weights_scale(scale: float) -> None:
    weight = torch.randn(40, 60)
    assert hill_exponent(eigenvalues(scale * weight)) == pytest.approx(hill_exponent(eigenvalues(weight)), rel=1e-5)


def test_a_convolution_pools_the_positions_of_its_kernel() -> None:
    weight = torch.randn(4, 5, 3, 2)
    by_hand = [
        value**2 / 2
        for row in range(3)
        for column in range(2)
        for value in torch.linalg.svdvals(weight[..., row, column])
    ]
    assert eigenvalues(weight).tolist() == pytest.approx(sorted(map(float, by_hand)), rel=1e-5)


def test_a_linear_layer_has_its_own_scale() -> None:
    assert eigenvalues(torch.diag(torch.tensor([3.0, 1.0, 2.0]))).tolist() == pytest.approx([1, 4, 9])


def test_directions_in_which_a_weight_is_nothing_are_left_out() -> None:
    weight = torch.randn(30, 7) @ torch.randn(7, 40)
    values = eigenvalues(weight)
    assert len(values) == 7
    alpha = hill_exponent(values)
    assert alpha is not None
    assert 1 < alpha < 20


@pytest.mark.parametrize("value", [0.0, math.nan, math.inf])
@pytest.mark.parametrize("shape", [(6, 6), (6, 6, 3, 3)])
def test_a_weight_that_says_nothing_has_no_exponent(value: float, shape: tuple[int, ...]) -> None:
    values = eigenvalues(torch.full(shape, value))
    assert len(values) == 0
    assert hill_exponent(values) is None


@pytest.mark.parametrize("size", [1, 2, 64, 256, 512])
def test_an_orthogonal_weight_has_no_exponent(size: int) -> None:
    weight = 0.3 * torch.linalg.qr(torch.randn(size, size)).Q
    assert len(eigenvalues(weight)) == size
    assert hill_exponent(eigenvalues(weight)) is None  # 1 + 1 / rounding, otherwise


@pytest.mark.parametrize(
    ("assign", "expected"),
    [
        ("linear", [0.5, 0.75, 1.0, 1.5]),
        ("step", [0.5, 0.5 + 1 / 3, 0.5 + 2 / 3, 1.5]),
        ("sqrt", [4 * math.sqrt(a) / sum(map(math.sqrt, (2, 3, 4, 6))) for a in (2, 3, 4, 6)]),
        ("log2", [4 * math.log2(a) / sum(map(math.log2, (2, 3, 4, 6))) for a in (2, 3, 4, 6)]),
    ],
)
def test_factors_rise_with_the_exponent(assign: str, expected: list[float]) -> None:
    assert rate_factors([2, 3, 4, 6], assign, 0.5, 1.5) == pytest.approx(expected)
    shuffled = rate_factors([4, 2, 6, 3], assign, 0.5, 1.5)
    assert shuffled == pytest.approx([expected[place] for place in (2, 0, 3, 1)])


def test_the_range_is_an_option() -> None:
    assert rate_factors([2, 3, 4, 6], "linear", 0.6, 1.4) == pytest.approx([0.6, 0.8, 1.0, 1.4])


@pytest.mark.parametrize("assign", ["linear", "step", "sqrt", "log2"])
@pytest.mark.parametrize("exponents", [[], [2.5], [2.5, 2.5, 2.5], [2.5, 2.5 + 1e-7]])
def test_layers_that_do_not_differ_keep_the_schedules_rate(assign: str, exponents: list[float]) -> None:
    assert rate_factors(exponents, assign, 0.5, 1.5) == [1.0] * len(exponents)


NETWORKS = [("zoo", "resnet8"), ("zoo", "wrn_16_1"), ("zoo", "vgg8"), ("zoo", "mobilenet_v2"), ("timm", "resnet10t"),
            ("timm", "vit_tiny_patch16_224")]  # fmt: skip


@pytest.mark.parametrize(("source", "name"), NETWORKS, ids=[name for _, name in NETWORKS])
def test_every_parameter_is_in_one_group(source: str, name: str) -> None:
    model = build_model(source, name, 10)
    parameters = list(model.parameters())
    groups = LayerRates(model, DEFAULTS).groups(parameters)
    listed = [id(parameter) for group in groups for parameter in group["params"]]
    assert sorted(listed) == sorted(map(id, parameters))

    named = [name for name, module in model.named_modules() if isinstance(module, (nn.Conv2d, nn.Linear))]
    assert [group["layer"] for group in groups[:-1]] == named[1:-1]
    assert "layer" not in groups[-1]
    for layer in (named[0], named[-1]):
        assert set(map(id, model.get_submodule(layer).parameters())) <= set(map(id, groups[-1]["params"]))


def test_what_is_not_trained_is_in_no_group() -> None:
    model = build_model("zoo", "resnet8", 10)
    frozen = model.get_submodule("layer2.0.conv2").requires_grad_(False)
    groups = LayerRates(model, DEFAULTS).groups([one for one in model.parameters() if one.requires_grad])
    assert all(parameter is not frozen.weight for group in groups for parameter in group["params"])


@pytest.mark.parametrize(
    ("source", "name", "layer", "members"),
    [
        ("zoo", "resnet8", "layer1.0.conv1", ["conv1.weight", "bn1.weight", "bn1.bias"]),
        ("zoo", "resnet8", "layer2.0.downsample.0", ["0.weight", "1.weight", "1.bias"]),
        (
            "zoo",
            "wrn_16_1",
            "block2.layer.0.conv1",
            ["conv1.weight", "bn1.weight", "bn1.bias"],
        ),  # the norm is before it
        ("zoo", "wrn_16_1", "block2.layer.0.convShortcut", ["convShortcut.weight"]),
        ("zoo", "vgg8", "block1.0", ["0.weight", "0.bias", "1.weight", "1.bias"]),
        ("timm", "resnet10t", "layer1.0.conv2", ["conv2.weight", "bn2.weight", "bn2.bias"]),
        ("timm", "vit_tiny_patch16_224", "blocks.0.attn.qkv", ["qkv.weight", "qkv.bias"]),
    ],
)
def test_a_norm_layer_follows_its_convolution(source: str, name: str, layer: str, members: list[str]) -> None:
    model = build_model(source, name, 10)
    (group,) = [
        group for group in LayerRates(model, DEFAULTS).groups(list(model.parameters())) if group.get("layer") == layer
    ]
    parent = model.get_submodule(layer.rpartition(".")[0])
    assert list(map(id, group["params"])) == [id(parent.get_parameter(member)) for member in members]


def test_factors_of_layers_with_spectra_of_known_exponents() -> None:
    model = nn.Sequential(*(nn.Linear(8, 8) for _ in range(7)))
    flat = [math.exp(place) for place in (0, 0, 0, 0, 0, 0, 0, 1)]  # 1 + 4 / 1 = 5
    flatter = [math.exp(place) for place in (0, 0, 0, 0, 0, 0, 0, 0.5)]  # 1 + 4 / 0.5 = 9
    heavy = [math.exp(place) for place in (0, 0, 0, 0, 0, 1, 1, 2)]  # 1 + 4 / 4 = 2
    spectra = [heavy, heavy, flat, flatter, [1.0] * 8, [9.0, 3.0, 1.0] + [0.0] * 5, flatter]
    for layer, spectrum in zip(model, spectra, strict=True):
        layer.weight.data = with_spectrum(spectrum)  # type: ignore[union-attr]
    rates = LayerRates(model, TempBalanceOptions("linear", 0.5, 1.5, 4))
    groups = rates.groups(list(model.parameters()))
    rates.update(groups)
    factors = {group["layer"]: group["lr_factor"] for group in groups[:-1]}
    # 5 lies 3/7 of the way from 2 to 9. A layer of equal eigenvalues, and one of only three, keep the schedule's rate;
    # the first and the last one are in no group of their own.
    assert factors == pytest.approx({"1": 0.5, "2": 0.5 + 3 / 7, "3": 1.5, "4": 1.0, "5": 1.0}, rel=1e-4)
    assert "lr_factor" not in groups[-1]


def test_layers_with_few_eigenvalues_keep_the_schedules_rate() -> None:
    model = build_model("zoo", "mobilenet_v2", 10)  # its depthwise convolutions are nine columns each
    rates = LayerRates(model, DEFAULTS)
    groups = rates.groups(list(model.parameters()))
    rates.update(groups)
    by_size: dict[bool, list[float]] = {True: [], False: []}
    for group in groups[:-1]:
        weight = model.get_submodule(group["layer"]).weight
        assert isinstance(weight, Tensor)
        by_size[len(eigenvalues(weight)) >= 50].append(group["lr_factor"])
    assert set(by_size[False]) == {1.0}
    assert (min(by_size[True]), max(by_size[True])) == (0.5, 1.5)


def test_nothing_is_assigned_unless_asked_for() -> None:
    config = composed("dataset=digits")
    assert layer_rates(config.recipe, nn.Linear(1, 1)) is None


SMALL = ["dataset=digits", "dataset.train_limit=32", "teacher=resnet8", "student=resnet8", "recipe.epochs=3",
         "recipe.batch_size=16", "recipe.lr_policy=tempbalance", "temperature=fixed"]  # fmt: skip


def trainer(*overrides: str) -> Trainer:
    return training(*SMALL, *overrides)


def test_rates_move_with_the_schedule() -> None:
    training = trainer("recipe.schedule=cosine", "recipe.lr=0.1")
    training.run_epoch(lambda: None)
    groups = training.optimizer.param_groups
    first = [group["lr"] for group in groups]
    assert first == pytest.approx([0.1 * group["lr_factor"] for group in groups])
    assert (min(first), max(first)) == pytest.approx((0.05, 0.15))
    training.set_lr(0.01)
    assert [group["lr"] for group in groups] == pytest.approx([rate / 10 for rate in first])


def test_factors_are_renewed_every_epoch() -> None:
    training = trainer()
    training.run_epoch(lambda: None)
    before = [group["lr_factor"] for group in training.optimizer.param_groups]
    training.run_epoch(lambda: None)
    after = [group["lr_factor"] for group in training.optimizer.param_groups]
    assert after != before
    assert (min(after), max(after)) == (0.5, 1.5)


@pytest.mark.parametrize(("others", "count"), [(["method=fitnet"], 1), (["temperature=ctkd"], 1)])
def test_what_else_is_trained_keeps_the_schedules_rate(others: list[str], count: int) -> None:
    training = trainer(*others)
    training.run_epoch(lambda: None)
    network = {id(parameter) for parameter in training.objective.model.parameters()}
    foreign = [group for group in training.optimizer.param_groups if id(group["params"][0]) not in network]
    assert len(foreign) == count
    assert all("layer" not in group and group["lr"] == 0.05 for group in foreign)


def test_a_timm_student_has_rates_too() -> None:
    training = trainer("student=timm", "student.model=resnet10t")
    training.run_epoch(lambda: None)
    factors = [group["lr_factor"] for group in training.optimizer.param_groups]
    assert (min(factors), max(factors)) == (0.5, 1.5)
    assert training.bad_step() is None
