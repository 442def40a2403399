"""What torch's compiler is told of batch norms and ReLUs on a CPU: the same functions, in a form whose loops are fast.

Left to itself, the compiler makes of a batch norm in training a chain of dependent operations a pixel (Welford's
method), a square root and a division a pixel, and threads that share the channels; of the network's last ReLU a map of
bytes. Here sums are taken image by image, what there is once a channel is computed once a channel, and a pixel costs a
multiplication and an addition.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from torch import Tensor, fx

aten = torch.ops.aten

# An expression of more operations than this is computed where it stands, and not again for every pixel that reads it.
# The scale of a channel is such (it holds the square root), and nothing is that there is once a pixel.
_LARGEST_REPEATED = 14


def compile_for_cpu(graph: fx.GraphModule, inputs: Sequence[Tensor]) -> Callable[..., Any]:
    """Backend for `torch.compile`: inductor, with the decompositions of this file."""
    # Imported only here: the compiler costs as long to import as torch.
    from torch._inductor.compile_fx import compile_fx
    from torch._inductor.decomposition import select_decomp_table

    known = dict(select_decomp_table())
    known[aten._native_batch_norm_legit_functional.default] = _or_else(
        batch_norm, known[aten._native_batch_norm_legit_functional.default], training=5
    )
    known[aten.native_batch_norm_backward.default] = _or_else(
        batch_norm_backward, known[aten.native_batch_norm_backward.default], training=7
    )
    known[aten.threshold_backward.default] = threshold_backward
    patches = {"realize_opcount_threshold": _LARGEST_REPEATED}
    return cast("Callable[..., Any]", compile_fx(graph, inputs, config_patches=patches, decompositions=known))


def _or_else(ours: Callable[..., Any], default: Callable[..., Any], training: int) -> Callable[..., Any]:
    """`ours` for maps in training (argument number `training` says so), `default` for all else."""

    def decomposition(*arguments: Any) -> Any:
        is_map = arguments[0].dim() == 4
        return (ours if is_map and arguments[training] else default)(*arguments)

    return decomposition


def batch_norm(
    images: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    running_mean: Tensor,
    running_var: Tensor,
    training: bool,  # noqa: ARG001
    momentum: float,
    eps: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """`aten._native_batch_norm_legit_functional` in training.

    The variance is the mean square less the square of the mean, of what is left after one value of each channel: the
    mean is a few deviations from it at most, so that little cancels. The running mean would do as well, but it changes
    in the step, and what the compiler computes again for the backward pass would read the new one.

    Args:
        images: [B, C, H, W].
        weight, bias, running_mean, running_var: [C].
        training: true.
        momentum: share of the batch in the new running values.
        eps: added to the variance.

    Returns:
        The normalised images, the batch's mean and 1 / sqrt(variance + eps), the new running mean and variance.
    """
    count = images.numel() // images.shape[1]
    sample = _wide(images[0, :, 0, 0])
    rest = _wide(images) - _by_channel(sample)
    beyond = _sum(rest) * (1 / count)  # the mean, from there
    var = (_sum(rest * rest) * (1 / count) - beyond * beyond).clamp_min(0)
    rstd = torch.rsqrt(var + eps)
    scale = rstd if weight is None else weight * rstd
    shift = -beyond * scale if bias is None else bias - beyond * scale
    normalised = (rest * _by_channel(scale) + _by_channel(shift)).to(images.dtype)
    mean, unbiased = sample + beyond, var * (count / max(count - 1, 1))
    new_mean = running_mean + momentum * (mean - running_mean)
    new_var = running_var + momentum * (unbiased - running_var)
    return normalised, mean, rstd, new_mean, new_var


def batch_norm_backward(
    gradient: Tensor,
    images: Tensor,
    weight: Tensor | None,
    running_mean: Tensor | None,  # noqa: ARG001
    running_var: Tensor | None,  # noqa: ARG001
    mean: Tensor,
    rstd: Tensor,
    training: bool,  # noqa: ARG001
    eps: float,  # noqa: ARG001
    wanted: Sequence[bool],
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """`aten.native_batch_norm_backward` in training: gradients of the images, the weight and the bias."""
    share = images.shape[1] / images.numel()
    above = _wide(gradient)
    rest = _wide(images) - _by_channel(mean)
    of_bias = _sum(above)
    of_weight = _sum(above * rest) * rstd
    scale = rstd if weight is None else weight * rstd
    of_images = above * _by_channel(scale) - (
        rest * _by_channel(scale * rstd * of_weight * share) + _by_channel(scale * of_bias * share)
    )
    gradients = of_images.to(images.dtype), of_weight, of_bias
    return tuple(value if asked else None for value, asked in zip(gradients, wanted, strict=True))  # type: ignore[return-value]


def threshold_backward(gradient: Tensor, output: Tensor, threshold: float) -> Tensor:
    """`aten.threshold_backward`; that of a ReLU keeps no map of bytes, which take long to write and to read."""
    if threshold == 0:
        return gradient * output.clamp_min(0).sign()
    return torch.where(output <= threshold, 0, gradient)


def _wide(images: Tensor) -> Tensor:
    return images.to(torch.promote_types(images.dtype, torch.float32))


def _sum(images: Tensor) -> Tensor:
    """[B, C, H, W] -> [C], image by image: each is one thread's, and lies in its cache."""
    return images.sum((2, 3)).sum(0)


def _by_channel(values: Tensor) -> Tensor:
    return values[:, None, None]
