"""Learning rates of a network's layers by the spectra of their weights (TempBalance, arXiv 2312.00359)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from rlkd_run.config.run import RecipeOptions, TempBalanceOptions

_ROUNDING = 1e-4  # relative; what differs by less is equal: float32 leaves some 1e-6 of an orthogonal matrix


def eigenvalues(weight: Tensor) -> Tensor:
    """Squared singular values of a layer's weight, pooled over the kernel's positions of a convolution, ascending.

    A convolution [out, in, h, w] is h * w matrices [out, in], each times sqrt(1/2). Values that are zero up to rounding
    are left out: a matrix of low rank says nothing in those directions.

    Args:
        weight: [out, in] or [out, in, h, w].

    Returns:
        [N], float64, so that no square leaves the range; empty if the weight is zero or not finite.
    """
    matrices = weight.detach().float()
    if matrices.ndim > 2:
        matrices = matrices.flatten(2).permute(2, 0, 1) * 0.5**0.5
    if not torch.isfinite(matrices).all():
        return matrices.new_empty(0)
    singular = torch.linalg.svdvals(matrices).flatten().sort().values
    smallest = singular[-1] * max(matrices.shape[-2:]) * torch.finfo(torch.float32).eps
    kept: Tensor = singular[singular > smallest].double().square()
    return kept


def hill_exponent(values: Tensor) -> float | None:
    """Hill's estimate of the exponent of a power law, from the upper half of a spectrum.

    alpha = 1 + (N - i) / sum_{j >= i} ln(lambda_j / lambda_i), with i = floor(N / 2) from 0; the smaller, the heavier
    the tail.

    Args:
        values: [N], positive and ascending.

    Returns:
        None where no exponent is defined: no values, or all of the upper half equal.
    """
    if len(values) == 0 or values[-1] <= values[len(values) // 2] * (1 + _ROUNDING):
        return None
    tail = values[len(values) // 2 :]
    return 1 + len(tail) / float((tail / tail[0]).log().sum())


def rate_factors(exponents: Sequence[float], assign: str, low: float, high: float) -> list[float]:
    """Factors of the layers' learning rates: the heavier a layer's tail (the smaller its exponent), the smaller.

    Args:
        exponents: alpha of each layer, finite.
        assign: "linear": from `low` at the smallest exponent to `high` at the largest; "step": likewise by rank;
            "sqrt", "log2": sqrt(alpha) or log2(alpha) in units of its mean over the layers.
        low: smallest factor of "linear" and "step".
        high: largest one.

    Returns:
        One factor a layer; 1 for all where the exponents do not differ.
    """
    alpha = torch.tensor(exponents, dtype=torch.float64)
    if len(alpha) < 2 or alpha.max() <= alpha.min() * (1 + _ROUNDING):
        return [1.0] * len(exponents)
    if assign in ("sqrt", "log2"):
        value = alpha.sqrt() if assign == "sqrt" else alpha.log2()
        factors = value / value.mean()
    else:
        place = alpha if assign == "linear" else alpha.argsort(stable=True).argsort().double()
        factors = low + (high - low) * (place - place.min()) / (place.max() - place.min())
    return [float(factor) for factor in factors]


class LayerRates:
    """Measures every layer of a network at the start of an epoch and sets the factor of its learning rate.

    Layers are convolutions and linear layers, in the order in which the network names them. The first and the last one,
    and those with too few eigenvalues, keep the schedule's rate. A norm layer follows its convolution: the one of the
    same name in the same module ("bn1" that of "conv1", as with the authors), else the one before it in that module.

    The factors stand in the optimiser's parameter groups (`lr_factor`), and so in every checkpoint.

    Args:
        model: the network in training.
        options: of the assignment.
    """

    def __init__(self, model: nn.Module, options: TempBalanceOptions) -> None:
        self.options = options
        named = [(name, module) for name, module in model.named_modules() if isinstance(module, (nn.Conv2d, nn.Linear))]
        self._layers = dict(named[1:-1])
        self._followers = _followers(model, self._layers)

    def groups(self, parameters: Sequence[nn.Parameter]) -> list[dict[str, Any]]:
        """Split a network's trainable parameters into groups: one a layer, named by ``layer``, and one for the rest."""
        left = {id(parameter): parameter for parameter in parameters}
        groups: list[dict[str, Any]] = []
        for name, layer in self._layers.items():
            members = [layer, *self._followers.get(name, [])]
            own = [left.pop(id(one)) for member in members for one in member.parameters(False) if id(one) in left]
            groups.append({"params": own, "layer": name})
        return [*groups, {"params": list(left.values())}]

    @torch.no_grad()
    def update(self, groups: Sequence[dict[str, Any]]) -> None:
        """Measure the layers and write the factors into the optimiser's groups. Waits for the device."""
        exponents: dict[str, float] = {}
        for name, layer in self._layers.items():
            values = eigenvalues(layer.weight)
            alpha = hill_exponent(values) if len(values) >= self.options.min_eigenvalues else None
            if alpha is not None:
                exponents[name] = alpha
        options = self.options
        factors = rate_factors(list(exponents.values()), options.assign, options.low, options.high)
        by_layer = dict(zip(exponents, factors, strict=True))
        for group in groups:
            if "layer" in group:
                group["lr_factor"] = by_layer.get(group["layer"], 1.0)


def layer_rates(recipe: RecipeOptions, model: nn.Module) -> LayerRates | None:
    """What gives a network's layers rates of their own under a recipe; None if nothing does."""
    if recipe.lr_policy == "none":
        return None
    assert recipe.tempbalance is not None  # checked when the configuration was composed
    return LayerRates(model, recipe.tempbalance)


def _followers(model: nn.Module, layers: dict[str, nn.Module]) -> dict[str, list[nn.Module]]:
    """The norm layers that take each layer's rate."""
    followers: dict[str, list[nn.Module]] = {}
    for parent_name, parent in model.named_modules():
        prefix = f"{parent_name}." if parent_name else ""
        before = ""
        for name, child in parent.named_children():
            if isinstance(child, (nn.Conv2d, nn.Linear)):
                before = name
            elif isinstance(child, (nn.modules.batchnorm._NormBase, nn.GroupNorm, nn.LayerNorm)):
                namesake = name.replace("bn", "conv")
                leader = namesake if namesake != name and hasattr(parent, namesake) else before
                if f"{prefix}{leader}" in layers:
                    followers.setdefault(f"{prefix}{leader}", []).append(child)
    return followers
