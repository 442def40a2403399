"""A network by name, from the zoo or from timm."""

from __future__ import annotations

from collections.abc import Collection
from difflib import get_close_matches
from typing import Any

import timm
from torch import Tensor, nn

from rlkd_run.errors import ConfigError
from rlkd_run.models.dry_run import dry_run
from rlkd_run.models.names import ZOO_NAMES
from rlkd_run.models.zoo.registry import ZOO


def build_model(
    source: str,
    model: str,
    num_classes: int,
    *,
    pretrained: bool = False,
    image_size: tuple[int, int] | None = None,
) -> nn.Module:
    """Build a network with fresh weights from torch's global generator, or with those that timm publishes.

    Args:
        source: "zoo" or "timm".
        model: name of the architecture in its source; timm's may carry the tag of its weights (`resnet50.a1_in1k`).
        num_classes: C. A published network for other classes gets a fresh last layer.
        pretrained: timm only: load the published weights, downloaded unless they are in timm's cache.
        image_size: (height, width) of the images; networks of a fixed size are built for it, and a network that cannot
            take such images is refused. None: not known, not checked.

    Returns:
        The network in training mode, on the CPU.

    Raises:
        ConfigError: if there is no such network, its weights cannot be had, or it does not fit the images.
    """
    if source == "zoo":
        network = _from_zoo(model, num_classes, pretrained)
    elif source == "timm":
        network = _from_timm(model, num_classes, pretrained, image_size)
    else:
        raise ConfigError(f"there is no source '{source}' of networks; choose zoo or timm")
    if image_size is not None:
        _check_fit(network, model, num_classes, image_size)
    return network


def _from_zoo(model: str, num_classes: int, pretrained: bool) -> nn.Module:
    if model not in ZOO:
        raise ConfigError(f"the zoo has no network '{model}'; {_nearest(model, ZOO_NAMES)}")
    if pretrained:
        raise ConfigError(
            f"nobody publishes weights for the zoo's {model}; set pretrained=false, and for a teacher give "
            "teacher.checkpoint or let it be trained"
        )
    return ZOO[model](num_classes)


def _from_timm(model: str, num_classes: int, pretrained: bool, image_size: tuple[int, int] | None) -> nn.Module:
    architecture, _, tag = model.partition(".")
    if not timm.is_model(architecture):
        raise ConfigError(f"timm {timm.__version__} has no model '{model}'; {_nearest(model, timm.list_models())}")
    published = timm.list_pretrained(f"{architecture}.*")
    if tag and model not in published:
        raise ConfigError(f"timm {timm.__version__} has no weights '{model}'; {_nearest(model, published)}")
    if pretrained and not timm.is_model_pretrained(architecture):
        raise ConfigError(f"timm publishes no weights for '{model}'; set pretrained=false, or give teacher.checkpoint")

    options: dict[str, Any] = {}
    native = timm.get_pretrained_cfg(model)
    if image_size and native and native.fixed_input_size and image_size != tuple(native.input_size[1:]):
        options["img_size"] = image_size
    try:
        network: nn.Module = timm.create_model(model, pretrained=pretrained, num_classes=num_classes, **options)
    except OSError as error:
        if not pretrained:
            raise
        raise ConfigError(
            f"the weights that timm publishes for '{model}' cannot be had ({type(error).__name__}); download them once "
            "where there is a network (HF_HOME says where they are kept), or set pretrained=false and give "
            "teacher.checkpoint"
        ) from error
    except (RuntimeError, TypeError, AssertionError, ValueError) as error:
        if not options:
            raise
        raise ConfigError(_misfit(model, image_size)) from error
    return network


def _check_fit(network: nn.Module, model: str, num_classes: int, image_size: tuple[int, int]) -> None:
    try:
        logits = dry_run(network, (3, *image_size), network)
    except (RuntimeError, AssertionError, ValueError) as error:
        raise ConfigError(_misfit(model, image_size)) from error
    if not isinstance(logits, Tensor) or tuple(logits.shape) != (1, num_classes):
        raise ConfigError(f"{model} does not answer an image with {num_classes} logits; choose another model")


def _misfit(model: str, image_size: tuple[int, int] | None) -> str:
    size = "x".join(map(str, image_size or ()))
    return f"{model} cannot take images of {size} pixels; choose another model, or a data set with larger images"


def _nearest(name: str, names: Collection[str]) -> str:
    near = get_close_matches(name.lower().replace("-", "_"), names, n=3, cutoff=0.5)
    if near:
        return f"the nearest is {near[0]}" if len(near) == 1 else f"the nearest are {', '.join(near)}"
    return (
        f"choose one of {', '.join(names)}" if 0 < len(names) <= len(ZOO_NAMES) else "timm.list_models() has the names"
    )
