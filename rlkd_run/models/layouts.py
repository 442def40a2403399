"""Where in a file's content a state dict lies, and under what names its network goes there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

StateDict = dict[str, Tensor]

# RepDistiller and mdistiller save under "model", most other code under one of the others.
STATE_KEYS = ("model", "state_dict", "model_state_dict", "net")
# What PyTorch before 0.4.1 did not save, and no network in evaluation mode looks at.
_BATCHES_SEEN = "num_batches_tracked"


def state_dict_in(content: Any) -> tuple[StateDict, list[str]] | None:
    """Find the state dict: under a usual key, or the content itself, or the only one under any key.

    Returns:
        It, and what is to be said of its place, in words; None if there is none, or several under unusual keys.
    """
    if not isinstance(content, Mapping):
        return None
    usual = [content[key] for key in STATE_KEYS if isinstance(content.get(key), Mapping)]
    if usual or _is_state_dict(content):
        found = usual[0] if usual else content
        return (dict(found), []) if _is_state_dict(found) else None
    others = [key for key, value in content.items() if _is_state_dict(value)]
    return (dict(content[others[0]]), [f"under '{others[0]}'"]) if len(others) == 1 else None


def _is_state_dict(content: Any) -> bool:
    return (
        isinstance(content, Mapping)
        and bool(content)
        and all(isinstance(name, str) and isinstance(value, Tensor) for name, value in content.items())
    )


def named_as_in(model: nn.Module, state: StateDict) -> tuple[StateDict, list[str]]:
    """A state dict under a network's own names, as far as those follow from its names alone.

    What all names begin with and no child of the network is called is left out: DistributedDataParallel puts
    ``module.`` there, torch.compile ``_orig_mod.``, Lightning the attribute that holds the network. Counts of batches
    that are not there are the network's.

    Returns:
        It, and what was done, in words.
    """
    remarks = []
    prefix, dot, _ = next(iter(state)).partition(".")
    while dot and prefix not in model._modules and all(name.startswith(f"{prefix}.") for name in state):
        state = {name.removeprefix(f"{prefix}."): value for name, value in state.items()}
        remarks.append(f"names without '{prefix}.'")
        prefix, dot, _ = next(iter(state)).partition(".")
    wanted = model.state_dict()
    lacking = {name: value for name, value in wanted.items() if name not in state and name.endswith(_BATCHES_SEEN)}
    if lacking and lacking.keys() | state.keys() == wanted.keys():
        state = state | lacking
        remarks.append(f"without {_BATCHES_SEEN}")
    return state, remarks
