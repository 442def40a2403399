"""A guard against what makes the host wait for the device; it works on the CPU, where nothing really waits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

# `item`, `bool(tensor)` and the like end in the first; the others give shapes that depend on values.
WAITS = ("_local_scalar_dense", "nonzero", "masked_select", "_unique2", "is_nonzero", "equal")


class NoWaiting(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Fails on what would wait."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        assert name not in WAITS, f"{name} waits"
        if name == "index":
            assert all(one is None or one.dtype is not torch.bool for one in args[1]), "a mask as an index waits"
        return func(*args, **(kwargs or {}))
