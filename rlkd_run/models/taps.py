"""Where in a network its features are: the zoo's and timm's own declarations, read into one form."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from rlkd_run.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Tap:
    """A point of a network at which a tensor can be read.

    Attributes:
        module: name of a module inside the network.
        at_input: whether the module's input is meant, not its output.
        channels: channels that the network declares for the map; None where it declares none.
        channels_last: whether the network declares its maps as [B, H, W, D].
    """

    module: str
    at_input: bool = False
    channels: int | None = None
    channels_last: bool = False


def published(model: nn.Module) -> Mapping[str, Any]:
    """What timm says of a model and the weights that it publishes; nothing of any other (the zoo's)."""
    facts: Mapping[str, Any] | None = getattr(model, "pretrained_cfg", None)
    return facts or {}


def model_name(model: nn.Module) -> str:
    """The name by which messages call a model: timm's, else that of its class."""
    return published(model).get("architecture") or type(model).__name__


def map_taps(model: nn.Module) -> tuple[Tap, ...]:
    """Find the maps of stem and stages.

    Reads `map_modules` (the zoo, and any model that declares the same), else timm's `feature_info`.

    Raises:
        ConfigError: if the model declares no maps, or names modules that it does not have.
    """
    declared = getattr(model, "map_modules", None)
    if declared is not None:
        taps = tuple(Tap(name) for name in declared)
    else:
        last = getattr(model, "output_fmt", "NCHW") == "NHWC"
        taps = tuple(_timm_tap(entry, last) for entry in _timm_entries(model))
    known = {name for name, _ in model.named_modules()}
    unknown = [tap.module for tap in taps if tap.module not in known]
    if unknown:
        raise ConfigError(
            f"{model_name(model)} says that its feature maps are in {', '.join(map(repr, unknown))}, and has no module "
            "of that name"
        )
    if not taps:
        raise ConfigError(
            f"{model_name(model)} does not say where its feature maps are (in `map_modules`, or timm's "
            "`feature_info`), so a method that compares maps needs another model"
        )
    return taps


def preactivation_taps(model: nn.Module) -> tuple[Tap, ...]:
    """Find the maps of stem and stages before their last activation; the maps themselves where none are declared.

    Reads `preactivation_inputs` (the zoo, and any model that declares the same). timm's networks declare none, and most
    of them activate in place, so that nothing would be left to read.

    Raises:
        ConfigError: as `map_taps`.
    """
    taps = map_taps(model)
    declared = getattr(model, "preactivation_inputs", None)
    return tuple(Tap(name, at_input=True) for name in declared) if declared else taps


def classifier_of(model: nn.Module) -> tuple[str, nn.Linear]:
    """Find the final linear layer and its name.

    Reads `classifier_module` (the zoo, and any model that declares the same), else timm's `pretrained_cfg`.

    Raises:
        ConfigError: if the model does not end in a single linear layer.
    """
    name = getattr(model, "classifier_module", None) or published(model).get("classifier")
    layer = dict(model.named_modules()).get(name) if isinstance(name, str) else None
    if not isinstance(name, str) or not isinstance(layer, nn.Linear):
        raise ConfigError(
            f"{model_name(model)} does not end in one linear layer (which `classifier_module`, or timm's "
            "`pretrained_cfg`, names), so a method that reads penultimate features needs another model"
        )
    return name, layer


def spatial(model: nn.Module, tap: Tap, value: Any) -> Tensor:
    """Check that what a tap gave is a map, and give it as [B, D, H, W].

    Raises:
        ConfigError: if it is no map, as the token sequences of vision transformers.
    """
    if not isinstance(value, Tensor) or value.ndim != 4:
        shape = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
        raise ConfigError(
            f"{model_name(model)} has no spatial feature maps ('{tap.module}' gives {shape}), "
            "so a method that compares maps needs another model"
        )
    undeclared = tap.channels is not None and value.shape[1] != tap.channels == value.shape[3]
    return value.permute(0, 3, 1, 2) if tap.channels_last or undeclared else value


def _timm_entries(model: nn.Module) -> list[dict[str, Any]]:
    info = getattr(model, "feature_info", None) or []
    return list(getattr(info, "info", info))


def _timm_tap(entry: dict[str, Any], channels_last: bool) -> Tap:
    at_input = entry.get("hook_type") == "forward_pre"
    return Tap(entry.get("module", ""), at_input, entry.get("num_chs"), channels_last)
