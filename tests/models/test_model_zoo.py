"""Every network of the zoo against the literature's figures for CIFAR-100, and its parameter names."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torchvision
from support import ROOT
from torch import Tensor, nn

from rlkd_run.models.build import build_model
from rlkd_run.models.count import parameters
from rlkd_run.models.features import Network
from rlkd_run.models.names import ZOO_NAMES
from rlkd_run.models.zoo.base import ZooNetwork, shuffle_channels
from rlkd_run.models.zoo.registry import ZOO
from rlkd_run.models.zoo.resnet import ResNet
from rlkd_run.models.zoo.wrn import WideResNet
from rlkd_run.protocol import Needs

REFERENCE = json.loads(gzip.decompress((Path(__file__).parent / "cifar_state_dicts.json.gz").read_bytes()))

RESNET = "16@32 16@32 32@16 64@8"
RESNET_X4 = "32@32 64@32 128@16 256@8"
WRN_2 = "16@32 32@32 64@16 128@8"
VGG = "64@32 128@16 256@8 512@4 512@4"
IMAGENET = "64@16 64@8 128@4 256@2 512@1"

# 100 classes, 32x32 images: parameters, million multiply-adds, penultimate width, maps of stem and stages.
FACTS = {
    "resnet8": (83_892, 12.51, 64, RESNET),
    "resnet14": (181_108, 26.66, 64, RESNET),
    "resnet20": (278_324, 40.82, 64, RESNET),
    "resnet32": (472_756, 69.13, 64, RESNET),
    "resnet44": (667_188, 97.44, 64, RESNET),
    "resnet56": (861_620, 125.75, 64, RESNET),
    "resnet110": (1_736_564, 253.16, 64, RESNET),
    "resnet8x4": (1_233_540, 177.07, 256, RESNET_X4),
    "resnet32x4": (7_433_860, 1083.04, 256, RESNET_X4),
    "wrn_16_1": (180_916, 26.66, 64, RESNET),
    "wrn_16_2": (703_284, 101.12, 128, WRN_2),
    "wrn_40_1": (569_780, 83.29, 64, RESNET),
    "wrn_40_2": (2_255_156, 327.61, 128, WRN_2),
    "vgg8": (3_965_028, 96.19, 512, VGG),
    "vgg11": (9_277_284, 209.44, 512, VGG),
    "vgg13": (9_462_180, 284.94, 512, VGG),
    "vgg16": (14_774_436, 398.18, 512, VGG),
    "vgg19": (20_086_692, 511.43, 512, VGG),
    "resnet18": (11_220_132, 555.47, 512, "64@32 64@32 128@16 256@8 512@4"),
    "resnet50": (23_705_252, 1298.01, 2048, "64@32 256@32 512@16 1024@8 2048@4"),
    "resnet18_imagenet": (11_227_812, 37.06, 512, IMAGENET),
    "resnet34_imagenet": (21_335_972, None, 512, IMAGENET),
    "mobilenet_v2": (812_836, 6.52, 1280, "16@16 12@16 16@8 48@4 160@2"),
    "shufflenet_v1": (949_258, 38.69, 960, "24@32 240@16 480@8 960@4"),
    "shufflenet_v2": (1_355_528, 44.50, 1024, "24@32 116@16 232@8 464@4"),
}


@pytest.fixture(scope="module", params=ZOO_NAMES)
def named(request: pytest.FixtureRequest) -> tuple[str, ZooNetwork]:
    return request.param, ZOO[request.param](100)


def test_names_are_the_registrys() -> None:
    assert tuple(ZOO) == ZOO_NAMES
    assert set(FACTS) == set(ZOO_NAMES)


def test_names_are_free_of_torch() -> None:
    code = "import sys, rlkd_run.models.names; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_parameters_and_multiply_adds(named: tuple[str, ZooNetwork], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    from bench_parts.roofline import multiply_adds

    name, model = named
    count, millions, _, _ = FACTS[name]
    assert parameters(model) == count
    if millions is not None:
        assert round(multiply_adds(model, (3, 32, 32)) / 1e6, 2) == millions


def test_maps_and_penultimate_width(named: tuple[str, ZooNetwork]) -> None:
    name, model = named
    _, _, width, maps = FACTS[name]
    network = Network(model)
    assert network.penultimate_width == width
    shapes = network.map_shapes((3, 32, 32))
    assert " ".join(f"{channels}@{height}" for channels, height, _ in shapes) == maps
    assert all(height == width for _, height, width in shapes)


def test_state_dict_has_the_published_names_shapes_and_order(named: tuple[str, ZooNetwork]) -> None:
    name, model = named
    if name.endswith("_imagenet"):
        with torch.device("meta"):
            theirs = getattr(torchvision.models, name.removesuffix("_imagenet"))(num_classes=100)
        reference = {key: list(value.shape) for key, value in theirs.state_dict().items()}
    else:
        reference = REFERENCE[name]
    ours = {key: list(value.shape) for key, value in model.state_dict().items()}
    assert ours == reference
    assert list(ours) == list(reference)


@pytest.mark.parametrize("side", [8, 28])
def test_other_image_sizes(named: tuple[str, ZooNetwork], side: int) -> None:
    _, model = named
    model.eval()
    with torch.no_grad(), Network(model, Needs(penultimate=True, maps=True)) as network:
        outputs = network(torch.randn(2, 3, side, side))
    assert outputs.logits.shape == (2, 100)
    assert outputs.penultimate is not None
    assert outputs.penultimate.shape == (2, network.penultimate_width)
    assert outputs.logits.isfinite().all()
    torch.testing.assert_close(network.classifier(outputs.penultimate), outputs.logits)


def test_no_exposed_map_is_overwritten(named: tuple[str, ZooNetwork]) -> None:
    _, model = named
    as_given: list[Tensor] = []
    hooks = [
        model.get_submodule(name).register_forward_hook(lambda _m, _i, output: as_given.append(output.clone()))
        for name in model.map_modules
    ]
    model.eval()
    with torch.no_grad(), Network(model, Needs(maps=True)) as network:
        maps = network(torch.randn(1, 3, 8, 8)).maps
    for hook in hooks:
        hook.remove()
    for kept, given in zip(maps, as_given, strict=True):
        assert torch.equal(kept, given)


def test_activations_do_not_work_in_place(named: tuple[str, ZooNetwork]) -> None:
    assert not any(getattr(module, "inplace", False) for module in named[1].modules())


@pytest.mark.parametrize(("side", "maps"), [(64, "64@64 128@32 256@16 512@8 512@4"), (32, VGG)])
def test_vgg_pools_a_fourth_time_from_64_pixels(side: int, maps: str) -> None:
    shapes = Network(ZOO["vgg8"](10)).map_shapes((3, side, side))
    assert " ".join(f"{channels}@{height}" for channels, height, _ in shapes) == maps


def test_imagenet_stem_computes_what_torchvision_does() -> None:
    ours, theirs = ZOO["resnet18_imagenet"](10), torchvision.models.resnet18(num_classes=10)
    ours.load_state_dict(theirs.state_dict())
    images = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(ours.eval()(images), theirs.eval()(images))


def test_block_inputs_of_the_last_relu_are_the_maps_before_activation() -> None:
    model = ZOO["resnet8"](10)
    before: list[Tensor] = []
    model.get_submodule("layer2.0.relu2").register_forward_pre_hook(lambda _m, inputs: before.append(inputs[0]))
    maps = Network(model, Needs(maps=True))(torch.randn(2, 3, 8, 8)).maps
    assert before[0].min() < 0
    assert torch.equal(before[0].relu(), maps[2])


def test_wide_resnet_maps_are_not_activated() -> None:
    maps = Network(ZOO["wrn_16_1"](10), Needs(maps=True))(torch.randn(2, 3, 8, 8)).maps
    assert all(one.min() < 0 for one in maps)


def test_shuffle_interleaves_the_groups_in_either_memory_layout() -> None:
    maps = torch.arange(6.0).view(1, 6, 1, 1).expand(2, 6, 2, 3).contiguous()
    for layout in (torch.contiguous_format, torch.channels_last):
        shuffled = shuffle_channels(maps.contiguous(memory_format=layout), 2)
        assert shuffled[0, :, 0, 0].tolist() == [0, 3, 1, 4, 2, 5]
        assert shuffled.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("name", ["shufflenet_v1", "shufflenet_v2", "resnet8"])
def test_channels_last_stays(name: str) -> None:
    model = ZOO[name](10).to(memory_format=torch.channels_last)
    images = torch.randn(2, 3, 16, 16).contiguous(memory_format=torch.channels_last)
    maps = Network(model, Needs(maps=True))(images).maps
    assert all(one.is_contiguous(memory_format=torch.channels_last) for one in maps)


def test_initialisation_is_the_reference_frameworks() -> None:
    torch.manual_seed(0)
    for name in ("resnet20", "wrn_16_2", "vgg13", "resnet18", "mobilenet_v2"):
        for module in ZOO[name](100).modules():
            if isinstance(module, nn.Conv2d) and module.weight.numel() > 5_000:
                fan_out = module.out_channels * module.kernel_size[0] * module.kernel_size[1]
                assert module.weight.std().item() == pytest.approx((2 / fan_out) ** 0.5, rel=0.1)
                assert module.bias is None or not module.bias.any()
    assert ZOO["vgg8"](100).get_submodule("classifier").weight.std().item() == pytest.approx(0.01, rel=0.05)
    assert not ZOO["wrn_16_1"](100).get_submodule("fc").bias.any()
    assert ZOO["resnet8"](100).get_submodule("fc").bias.any()
    # PyTorch's default, U(+-1 / sqrt(fan_in)), is left to the shuffle networks.
    last = ZOO["shufflenet_v2"](100).get_submodule("conv2").weight
    assert last.abs().max().item() == pytest.approx(464**-0.5, rel=0.01)


def test_equal_seeds_give_equal_weights() -> None:
    torch.manual_seed(3)
    first = build_model("zoo", "resnet8", 10).state_dict()
    torch.manual_seed(3)
    second = build_model("zoo", "resnet8", 10).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_impossible_depths_are_refused() -> None:
    with pytest.raises(ValueError, match="6n\\+2"):
        ResNet(9, (16, 16, 32, 64), 10)
    with pytest.raises(ValueError, match="6n\\+4"):
        WideResNet(20, 1, 10)
