"""Features by hooks: the same numbers, gradients, no traces, and refusals where a model has none."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn

from rlkd_run.errors import ConfigError
from rlkd_run.models.build import build_model
from rlkd_run.models.features import Network
from rlkd_run.models.normalise import Renormalised
from rlkd_run.models.unwrap import unwrapped
from rlkd_run.protocol import Needs

EVERYTHING = Needs(penultimate=True, maps=True)


def hooks(model: nn.Module) -> int:
    return sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules())


def zoo() -> nn.Module:
    return build_model("zoo", "resnet8", 10)


def resnet10t() -> nn.Module:
    return build_model("timm", "resnet10t", 10)


MODELS = pytest.mark.parametrize("build", [zoo, resnet10t])


@MODELS
def test_hooks_only_for_what_is_needed(build: Callable[[], nn.Module]) -> None:
    model = build()
    stages = len(Network(model).map_shapes((3, 16, 16)))
    for needs, expected in [
        (Needs(), 0),
        (Needs(penultimate=True), 1),
        (Needs(maps=True), stages),
        (EVERYTHING, stages + 1),
    ]:
        with Network(model, needs):
            assert hooks(model) == expected
        assert hooks(model) == 0


@MODELS
def test_logits_are_the_models_own(build: Callable[[], nn.Module]) -> None:
    model = build().eval()
    images = torch.randn(2, 3, 16, 16)
    alone = model(images)
    bare = Network(model)(images)
    assert bare.penultimate is None
    assert bare.maps == ()
    full = Network(model, EVERYTHING)(images)
    assert torch.equal(alone, bare.logits)
    assert torch.equal(alone, full.logits)
    assert full.penultimate is not None
    torch.testing.assert_close(Network(model).classifier(full.penultimate), alone)


@MODELS
def test_shapes_are_those_of_the_maps(build: Callable[[], nn.Module]) -> None:
    network = Network(build(), EVERYTHING)
    outputs = network(torch.randn(2, 3, 16, 24))
    assert network.map_shapes((3, 16, 24)) == tuple(tuple(one.shape[1:]) for one in outputs.maps)
    assert outputs.penultimate is not None
    assert outputs.penultimate.shape == (2, network.penultimate_width)


@MODELS
def test_gradients_flow_through_features(build: Callable[[], nn.Module]) -> None:
    model = build()
    outputs = Network(model, EVERYTHING)(torch.randn(2, 3, 16, 16))
    assert outputs.penultimate is not None
    (outputs.penultimate.square().sum() + sum(one.square().mean() for one in outputs.maps)).backward()
    first = next(model.parameters())
    assert first.grad is not None
    assert first.grad.abs().sum() > 0


def test_dry_runs_leave_modes_statistics_and_generators_alone() -> None:
    model = zoo()
    model.get_submodule("layer1").eval()
    modes = [module.training for module in model.modules()]
    before = {name: value.clone() for name, value in model.state_dict().items()}
    generator = torch.get_rng_state()
    Network(model).map_shapes((3, 8, 8))
    assert [module.training for module in model.modules()] == modes
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert torch.equal(generator, torch.get_rng_state())


def test_no_feature_outlives_its_outputs() -> None:
    network = Network(zoo(), EVERYTHING)
    with torch.no_grad():
        outputs = network(torch.randn(2, 3, 8, 8))
    assert outputs.penultimate is not None
    kept = [weakref.ref(one) for one in (*outputs.maps, outputs.penultimate)]
    del outputs
    gc.collect()
    assert all(one() is None for one in kept)


def test_a_failed_call_leaves_nothing_behind() -> None:
    network = Network(zoo(), EVERYTHING)
    with pytest.raises(RuntimeError):
        network(torch.randn(2, 5, 8, 8))
    assert network._seen is None
    assert len(network(torch.randn(2, 3, 8, 8)).maps) == 4


def test_two_networks_over_one_model() -> None:
    model = zoo().eval()
    images, others = torch.randn(2, 3, 8, 8), torch.randn(3, 3, 8, 8)
    maps, vectors = Network(model, Needs(maps=True)), Network(model, EVERYTHING)
    expected = maps(images)
    other = vectors(others)
    assert expected.penultimate is None
    assert other.penultimate is not None
    assert other.penultimate.shape == (3, 64)
    assert [len(one) for one in (*expected.maps, *other.maps)] == [2] * 4 + [3] * 4
    assert all(torch.equal(a, b) for a, b in zip(expected.maps, maps(images).maps, strict=True))

    maps.close()
    maps.close()
    assert len(vectors(images).maps) == 4
    with pytest.raises(RuntimeError, match="removed"):
        maps(images)


def test_wrapped_models() -> None:
    model = zoo().eval()
    images = torch.randn(2, 3, 8, 8)
    wrapped = Renormalised(model, (0.5,) * 3, (0.2,) * 3, (0.4,) * 3, (0.3,) * 3)
    assert unwrapped(wrapped) is model
    outputs = Network(wrapped, EVERYTHING)(images)
    assert torch.equal(outputs.logits, wrapped(images))
    assert len(outputs.maps) == 4
    compiled = torch.compile(model, backend="eager")
    assert unwrapped(compiled) is model
    torch.testing.assert_close(Network(compiled, EVERYTHING)(images).maps, Network(model, EVERYTHING)(images).maps)


def test_inference_mode() -> None:
    with torch.inference_mode():
        outputs = Network(zoo().eval(), EVERYTHING)(torch.randn(1, 3, 8, 8))
    assert not any(one.requires_grad for one in outputs.maps)


@pytest.fixture(scope="module")
def transformer() -> nn.Module:
    return build_model("timm", "vit_tiny_patch16_224", 10, image_size=(32, 32))


def test_a_transformer_has_a_penultimate_feature(transformer: nn.Module) -> None:
    with Network(transformer, Needs(penultimate=True)) as network:
        outputs = network(torch.randn(2, 3, 32, 32))
    assert outputs.penultimate is not None
    assert outputs.penultimate.shape == (2, network.penultimate_width) == (2, 192)


def test_a_transformer_has_no_maps(transformer: nn.Module) -> None:
    network = Network(transformer, Needs(maps=True))
    for ask in (lambda: network.map_shapes((3, 32, 32)), lambda: network(torch.randn(1, 3, 32, 32))):
        with pytest.raises(ConfigError, match="vit_tiny_patch16_224 has no spatial feature maps"):
            ask()
    network.close()
    assert hooks(transformer) == 0


def test_two_classifiers_are_none() -> None:
    model = build_model("timm", "deit_tiny_distilled_patch16_224", 10, image_size=(32, 32))
    with pytest.raises(ConfigError, match=r"does not end in one linear layer \(which `classifier_module`"):
        Network(model, Needs(penultimate=True))
    with pytest.raises(ConfigError, match="deit_tiny_distilled_patch16_224"):
        _ = Network(model).classifier


class Plain(nn.Module):
    """A network that declares nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.fc = nn.Linear(4, 10)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.fc(self.conv(images).mean((2, 3)))
        return logits


class Declared(Plain):
    """A network of a third party that declares its features as the zoo does."""

    map_modules: ClassVar[tuple[str, ...]] = ("conv",)
    classifier_module: ClassVar[str] = "fc"


class Mistaken(Plain):
    """A network that declares modules which it does not have."""

    map_modules: ClassVar[tuple[str, ...]] = ("stem",)
    classifier_module: ClassVar[str] = "conv"


class Tokens(Declared):
    """A network whose classifier answers for each position."""

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.fc(self.conv(images).flatten(2).transpose(1, 2))
        return logits


class ChannelsLast(nn.Module):
    """A network with timm's declarations whose maps are [B, H, W, D], as those of Swin transformers."""

    feature_info: ClassVar = [{"module": "body", "num_chs": 7, "reduction": 1}]

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(3, 7)

    def forward(self, images: Tensor) -> Tensor:
        features: Tensor = self.body(images.permute(0, 2, 3, 1))
        return features.mean((1, 2))


class SaysChannelsLast(ChannelsLast):
    """The same with timm's word for it."""

    output_fmt: ClassVar[str] = "NHWC"


class BeforeTheModule(ChannelsLast):
    """A network whose feature is the input of a module (timm's EfficientNets can say so)."""

    feature_info: ClassVar = [{"module": "body", "num_chs": 3, "hook_type": "forward_pre"}]


def test_networks_of_third_parties() -> None:
    network = Network(Declared(), EVERYTHING)
    assert network.map_shapes((3, 8, 8)) == ((4, 6, 6),)
    assert network.penultimate_width == 4


@pytest.mark.parametrize(
    ("kind", "problem"),
    [
        (Plain, r"does not say where its feature maps are \(in `map_modules`"),
        (Mistaken, "says that its feature maps are in 'stem', and has no module of that name"),
    ],
)
def test_networks_that_do_not_say_where_their_features_are(kind: type[nn.Module], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        Network(kind(), Needs(maps=True))
    with pytest.raises(ConfigError, match="does not end in one linear layer"):
        Network(kind(), Needs(penultimate=True))
    assert Network(kind())(torch.randn(2, 3, 8, 8)).logits.shape == (2, 10)


def test_penultimate_features_are_vectors() -> None:
    with pytest.raises(ConfigError, match="not one vector an image"):
        Network(Tokens(), Needs(penultimate=True))(torch.randn(2, 3, 8, 8))


@pytest.mark.parametrize(
    ("kind", "shape"), [(ChannelsLast, (7, 5, 6)), (SaysChannelsLast, (7, 5, 6)), (BeforeTheModule, (3, 5, 6))]
)
def test_maps_come_as_channels_height_width(kind: type[nn.Module], shape: tuple[int, int, int]) -> None:
    assert Network(kind()).map_shapes((3, 5, 6)) == (shape,)


def test_bf16_gives_float32_outputs_near_the_models_own() -> None:
    model = build_model("zoo", "resnet8", 10).eval()
    images = torch.randn(8, 3, 16, 16)
    with Network(model, EVERYTHING) as exact, Network(model, EVERYTHING, "bf16") as rough:
        expected, found = exact(images), rough(images)
        again = rough.logits_again(images)
    for one, other in zip([expected.logits, *expected.maps], [found.logits, *found.maps], strict=True):
        assert other.dtype == torch.float32
        assert not torch.equal(one, other)
        torch.testing.assert_close(other, one, rtol=0.05, atol=0.05 * one.abs().max().item())
    assert found.penultimate is not None
    assert found.penultimate.dtype == torch.float32
    assert torch.equal(again, found.logits)
    found.logits.sum().backward()
    assert all(parameter.grad is None or parameter.grad.dtype == torch.float32 for parameter in model.parameters())


def test_only_full_batches_of_a_network_without_features_are_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []

    def compiled(model: nn.Module, **options: Any) -> Callable[[Tensor], Tensor]:
        def run(images: Tensor) -> Tensor:
            sizes.append(len(images))
            logits: Tensor = model(images)
            return logits

        return run

    monkeypatch.setattr(torch, "compile", compiled)
    model = zoo().eval()
    images = torch.randn(8, 3, 16, 16)
    with Network(model) as network, Network(model, Needs(penultimate=True)) as hooked:
        network.compile(8, 4)
        hooked.compile(8)
        outputs = [network(images).logits, network(images[:3]).logits, hooked(images).logits]
        network(images[:4])
    assert sizes == [8, 4]
    assert torch.equal(outputs[0], outputs[2])
    torch.testing.assert_close(outputs[1], outputs[0][:3])
