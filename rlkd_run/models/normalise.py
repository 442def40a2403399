"""A pretrained network that expects other means and deviations than the data set's."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from rlkd_run.models.taps import published
from rlkd_run.models.unwrap import unwrapped

Normalisation = tuple[tuple[float, ...], tuple[float, ...]]
"""Mean and standard deviation, a value a channel, in units of [0, 1] pixels."""


class Renormalised(nn.Module):
    """A network that is given images normalised for another one.

    The change is one scale and one shift a channel, kept as buffers that no state dict contains; `unwrapped` and all of
    this package see the network inside.

    Args:
        model: network that expects images normalised with `to_mean` and `to_std`.
        from_mean: mean of the normalisation that the images come with, a value a channel, in units of [0, 1] pixels.
        from_std: its standard deviation.
        to_mean: mean of the normalisation that the model was trained with.
        to_std: its standard deviation.
    """

    scale: Tensor
    shift: Tensor

    def __init__(
        self,
        model: nn.Module,
        from_mean: Sequence[float],
        from_std: Sequence[float],
        to_mean: Sequence[float],
        to_std: Sequence[float],
    ) -> None:
        super().__init__()
        self.renormalised = model
        self.to_mean, self.to_std = tuple(to_mean), tuple(to_std)
        # In double precision, so that only the last rounding to float32 is left.
        old_mean, old_std, new_mean, new_std = (
            torch.tensor(values, dtype=torch.float64).view(1, -1, 1, 1)
            for values in (from_mean, from_std, to_mean, to_std)
        )
        self.register_buffer("scale", (old_std / new_std).float(), persistent=False)
        self.register_buffer("shift", ((old_mean - new_mean) / new_std).float(), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """[B, 3, H, W] in the outer normalisation -> logits [B, C]."""
        logits: Tensor = self.renormalised(torch.addcmul(self.shift, images, self.scale))
        return logits


def native_normalisation(model: nn.Module) -> Normalisation | None:
    """Mean and standard deviation that a timm model's published weights were trained with.

    Returns:
        (mean, std), a value a channel in units of [0, 1] pixels; None for networks that come with no weights (the zoo).
    """
    facts = published(model)
    if "mean" not in facts or "std" not in facts:
        return None
    return tuple(facts["mean"]), tuple(facts["std"])


def published_classes(model: nn.Module) -> int | None:
    """The number of classes that a network's publisher trained it for; None for networks that come with no weights."""
    return published(unwrapped(model)).get("num_classes")


def normalised(model: nn.Module, mean: Sequence[float], std: Sequence[float], own: Normalisation | None) -> nn.Module:
    """Let a model take images that are normalised for a data set.

    Args:
        model: network with the weights of its publisher.
        mean: the data set's mean, a value a channel in units of [0, 1] pixels.
        std: the data set's standard deviation.
        own: mean and standard deviation that the model was trained with; None: not known, or the data set's.

    Returns:
        The model itself where nothing would change, else the model in a `Renormalised`.
    """
    if own is None or own == (tuple(mean), tuple(std)):
        return model
    return Renormalised(model, mean, std, *own)
