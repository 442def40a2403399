"""Any model of timm, by its name there."""

from __future__ import annotations

from typing import Any

import timm
from torch import nn

from rlkd_run.errors import ConfigError
from rlkd_run.models.refusals import misfit, nearest_names


def from_timm(model: str, num_classes: int, pretrained: bool, image_size: tuple[int, int] | None) -> nn.Module:
    """timm's model with C classes; see `rlkd_run.models.build.build_model`.

    Raises:
        ConfigError: there is no such model or no such weights, the weights cannot be had, or the size does not fit.
    """
    architecture, _, tag = model.partition(".")
    if not timm.is_model(architecture):
        raise ConfigError(f"timm {timm.__version__} has no model '{model}'; {nearest_names(model, timm.list_models())}")
    published = timm.list_pretrained(f"{architecture}.*")
    if tag and model not in published:
        raise ConfigError(f"timm {timm.__version__} has no weights '{model}'; {nearest_names(model, published)}")
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
            "where there is a network (HF_HOME says where they are kept), or set pretrained=false and give weights "
            "that you have, teacher.checkpoint"
        ) from error
    except (RuntimeError, TypeError, AssertionError, ValueError) as error:
        if not options:
            raise
        raise ConfigError(misfit(model, options["img_size"], error)) from error
    return network
