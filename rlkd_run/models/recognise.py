"""Whose weights a state dict holds, told from names and shapes alone."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

import torch
from torch import Tensor, nn

from rlkd_run.errors import ConfigError
from rlkd_run.models.taps import classifier_of, model_name
from rlkd_run.models.zoo.registry import ZOO

Shapes = dict[str, tuple[int, ...]]


def recognise(state: Mapping[str, Tensor]) -> tuple[str, int] | None:
    """Find the zoo's network that a state dict belongs to.

    Args:
        state: names and tensors.

    Returns:
        Name of the network and its number of classes; None if the zoo has no such network.
    """
    shapes = _shapes(state)
    for name in ZOO:
        layout, head = _layout(name)
        bias = shapes.get(f"{head}.bias", ())
        if len(bias) == 1 and shapes == _with_classes(layout, head, bias[0]):
            return name, bias[0]
    return None


def mismatch(state: Mapping[str, Tensor], model: nn.Module) -> str | None:
    """Say why a state dict does not fit a network.

    Args:
        state: names and tensors.
        model: the network that is to take them.

    Returns:
        The rest of a sentence that starts with the file's name; None if all names and shapes agree.
    """
    found, wanted = _shapes(state), _shapes(model.state_dict())
    if found == wanted:
        return None
    try:
        head, classifier = classifier_of(model)
    except ConfigError:
        pass
    else:
        classes = found.get(f"{head}.weight", ())[:1]
        if classes and found == _with_classes(wanted, head, classes[0]):
            return f"has {classes[0]} classes, the data set {classifier.out_features}"
    theirs, ours = recognise(state), recognise(model.state_dict())
    name = ours[0] if ours else model_name(model)
    if theirs:
        return f"holds a {theirs[0]}, not a {name}"
    return f"does not hold a {name}: {_differences(found, wanted)}"


@cache
def _layout(name: str) -> tuple[Shapes, str]:
    # On the meta device nothing is allocated and nothing drawn from the random generators.
    with torch.device("meta"):
        model = ZOO[name](1)
    return _shapes(model.state_dict()), model.classifier_module


def _shapes(state: Mapping[str, Tensor]) -> Shapes:
    return {name: tuple(value.shape) for name, value in state.items()}


def _with_classes(shapes: Shapes, head: str, classes: int) -> Shapes:
    ends = (f"{head}.weight", f"{head}.bias")
    return {name: (classes, *shape[1:]) if name in ends else shape for name, shape in shapes.items()}


def _differences(found: Shapes, wanted: Shapes) -> str:
    missing = [name for name in wanted if name not in found]
    excess = [name for name in found if name not in wanted]
    reshaped = [name for name in wanted if name in found and found[name] != wanted[name]]
    parts = []
    if missing:
        parts.append(f"it lacks {_first(missing)}")
    if excess:
        parts.append(f"it has {_first(excess)} in excess")
    if reshaped:
        name = reshaped[0]
        parts.append(f"{_first(reshaped)} has shape {list(found[name])} instead of {list(wanted[name])}")
    return ", ".join(parts)


def _first(names: list[str]) -> str:
    return f"'{names[0]}'" + (f" and {len(names) - 1} more" if len(names) > 1 else "")
