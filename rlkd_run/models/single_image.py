"""Batch norms that cannot be trained on one image: they would have to find the variance of a single value."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from rlkd_run.errors import ConfigError
from rlkd_run.models.dry_run import evaluation_mode, watched_run

_BATCH_SIZE = {"student": "recipe.batch_size", "teacher": "teacher.recipe.batch_size"}


def check_last_batch(
    role: str, name: str, model: nn.Module, image_shape: tuple[int, int, int], num_images: int, batch_size: int
) -> None:
    """Refuse a batch size with which torch would end the training in the last step of the first epoch.

    Args:
        role: "student" or "teacher".
        name: of the network.
        model: the network.
        image_shape: (channels, height, width).
        num_images: in an epoch.
        batch_size: images a step.

    Raises:
        ConfigError: a batch holds one image, of which a batch norm would see one value a channel.
    """
    if (num_images % batch_size or batch_size) == 1 and _meets_single_values(model, image_shape):
        raise ConfigError(
            f"{_BATCH_SIZE[role]}={batch_size} leaves one of {num_images} training images for the last batch of an "
            f"epoch, and {role}={name} cannot be trained on one: its maps shrink to a single pixel, which has no "
            "variance for a batch norm. Choose another batch size."
        )


def _meets_single_values(model: nn.Module, image_shape: tuple[int, int, int]) -> bool:
    met: list[bool] = []

    def look(_norm: nn.Module, inputs: tuple[Tensor, ...], _output: Tensor) -> None:
        met.append(inputs[0].numel() == inputs[0].shape[1])

    with evaluation_mode(model):
        model.train()  # a network may keep some of them in evaluation mode all the same: those take any image
        norms = [module for module in model.modules() if isinstance(module, _BatchNorm) and module.training]
    watched_run(model, image_shape, norms, look)
    return any(met)
