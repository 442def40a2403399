"""A forward pass that leaves no trace, to learn shapes and counts from a network."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import chain
from typing import TypeVar

import torch
from torch import Tensor, nn

Answer = TypeVar("Answer")


@contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[None]:
    """Evaluation mode inside the block; after it, every module is back in its own mode (frozen parts stay frozen)."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


def dry_run(model: nn.Module, image_shape: tuple[int, int, int], call: Callable[[Tensor], Answer]) -> Answer:
    """Show one black image to a network.

    No gradient, evaluation mode: batch-norm statistics and random generators stay as they are.

    Args:
        model: the network, which says device and precision of the image.
        image_shape: (channels, height, width).
        call: takes the images [1, channels, height, width] and runs the network: the network itself, or what uses it.

    Returns:
        What `call` gives.
    """
    like = next(chain(model.parameters(), model.buffers()), torch.empty(0))
    with evaluation_mode(model), torch.no_grad():
        return call(torch.zeros(1, *image_shape, dtype=like.dtype, device=like.device))


def watched_run(
    model: nn.Module, image_shape: tuple[int, int, int], layers: Iterable[nn.Module], look: Callable[..., None]
) -> None:
    """As `dry_run` of the network itself, with `look(layer, inputs, output)` called wherever a layer is used."""
    hooks = [layer.register_forward_hook(look) for layer in layers]
    try:
        dry_run(model, image_shape, model)
    finally:
        for hook in hooks:
            hook.remove()
