"""A network by name, from the zoo or from timm."""

from __future__ import annotations

from torch import Tensor, nn

from rlkd_run.errors import ConfigError
from rlkd_run.models.dry_run import dry_run
from rlkd_run.models.names import ZOO_NAMES
from rlkd_run.models.refusals import misfit, nearest_names
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
        # Imported only here: timm and torchvision cost as long to import as torch.
        from rlkd_run.models.timm_source import from_timm

        network = from_timm(model, num_classes, pretrained, image_size)
    else:
        raise ConfigError(f"there is no source '{source}' of networks; choose zoo or timm")
    if image_size is not None:
        _check_fit(network, model, num_classes, image_size)
    return network


def _from_zoo(model: str, num_classes: int, pretrained: bool) -> nn.Module:
    if model not in ZOO:
        raise ConfigError(f"the zoo has no network '{model}'; {nearest_names(model, ZOO_NAMES)}")
    if pretrained:
        raise ConfigError(
            f"nobody publishes weights for the zoo's {model}; set pretrained=false, and for a teacher give "
            "teacher.checkpoint or let it be trained"
        )
    return ZOO[model](num_classes)


def _check_fit(network: nn.Module, model: str, num_classes: int, image_size: tuple[int, int]) -> None:
    try:
        logits = dry_run(network, (3, *image_size), network)
    except (RuntimeError, AssertionError, ValueError) as error:
        raise ConfigError(misfit(model, image_size, error)) from error
    if not isinstance(logits, Tensor) or tuple(logits.shape) != (1, num_classes):
        raise ConfigError(f"{model} does not answer an image with {num_classes} logits; choose another model")
