"""Batch norms folded into the convolutions before them: the same outputs with a pass over memory less for each."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from rlkd_run.models.dry_run import dry_run
from rlkd_run.models.features import LOGITS_ONLY, Network
from rlkd_run.models.taps import map_taps
from rlkd_run.models.unwrap import unwrapped
from rlkd_run.protocol import Needs, Outputs

# In evaluation mode both are one affine map, so that only rounding tells them apart; more means that the convolution's
# output was read by somebody else as well.
_TOLERANCE = 1e-3


def folded(model: nn.Module, image_shape: tuple[int, int, int], needs: Needs = LOGITS_ONLY) -> nn.Module:
    """Copy a network for inference, each batch norm replaced by scaled weights of the convolution that feeds it.

    Which convolution feeds which batch norm is seen from a forward pass, so that any network will do. A layer that is
    called more than once, or a batch norm that also activates (some of timm's), stays as it is.

    Args:
        model: with its final weights; left alone.
        image_shape: (channels, height, width).
        needs: features that will be read beside the logits; they stay the same too.

    Returns:
        A copy in evaluation mode without gradient; nothing of it is shared with `model`. Modules keep their names. If
        the copy's outputs do not agree with the model's, a plain copy.
    """
    plain = copy.deepcopy(model).eval().requires_grad_(False)
    inner = unwrapped(plain)
    taps = map_taps(inner) if needs.maps or needs.preactivations else ()
    read = [inner.get_submodule(tap.module) for tap in taps]
    pairs = {norm: made for norm, made in _pairs(plain, image_shape).items() if plain.get_submodule(made) not in read}
    fast = copy.deepcopy(plain)
    for norm, convolution in pairs.items():
        before, after = fast.get_submodule(convolution), fast.get_submodule(norm)
        assert isinstance(before, nn.Conv2d)
        assert isinstance(after, nn.BatchNorm2d)
        _replace(fast, convolution, fuse_conv_bn_eval(before, after))
        _replace(fast, norm, nn.Identity())
    like = next(plain.parameters())
    images = torch.randn(8, *image_shape, generator=torch.Generator().manual_seed(0)).to(like)
    with torch.no_grad(), Network(plain, needs) as one, Network(fast, needs) as other:
        expected, found = _tensors(one(images)), _tensors(other(images))
    agree = all((b - a).abs().max() <= _TOLERANCE * a.abs().max() for a, b in zip(expected, found, strict=True))
    return fast if agree else plain


def cast_once(model: nn.Module) -> None:
    """Give convolutions and linear layers the bf16 weights that autocast would make of theirs in every pass.

    Args:
        model: for inference under autocast in bf16; changed. Its outputs are the same to the last bit.
    """
    for module in model.modules():
        if type(module) in (nn.Conv2d, nn.Linear):
            module.to(torch.bfloat16)


def _tensors(outputs: Outputs) -> list[Tensor]:
    penultimate = [] if outputs.penultimate is None else [outputs.penultimate]
    return [outputs.logits, *penultimate, *outputs.maps, *outputs.preactivations]


def _pairs(model: nn.Module, image_shape: tuple[int, int, int]) -> dict[str, str]:
    """Names of the batch norms that read a convolution's output, each with the convolution's name."""
    names = {module: name for name, module in model.named_modules()}
    outputs: list[tuple[Tensor, nn.Module]] = []  # kept, so that no address is given out twice
    calls: list[nn.Module] = []
    pairs: dict[nn.Module, nn.Module] = {}

    def convolved(module: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> None:
        calls.append(module)
        outputs.append((output, module))

    def normalised(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        calls.append(module)
        for output, convolution in outputs:
            if output is inputs[0]:
                pairs[module] = convolution

    hooks = [
        *(module.register_forward_hook(convolved) for module in names if type(module) is nn.Conv2d),
        *(module.register_forward_pre_hook(normalised) for module in names if type(module) is nn.BatchNorm2d),
    ]
    try:
        dry_run(model, image_shape, model)
    finally:
        for hook in hooks:
            hook.remove()
    once = {module for module in calls if calls.count(module) == 1}
    return {names[norm]: names[made] for norm, made in pairs.items() if {norm, made} <= once}


def _replace(model: nn.Module, name: str, module: nn.Module) -> None:
    parent, _, child = name.rpartition(".")
    setattr(model.get_submodule(parent), child, module)
