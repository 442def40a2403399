"""What a GPU does with a captured step, done on the CPU: the same operations on the same memory, without Python."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

# What CUDA refuses to capture: a value that comes from the host, or goes there, or decides a shape.
REFUSED = {"_local_scalar_dense", "lift_fresh", "nonzero", "masked_select", "unique_consecutive", "_unique2"}


class _Recording(TorchDispatchMode):
    def __init__(self, calls: list[Any]) -> None:
        super().__init__()
        self.calls = calls

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func._schema.name.split("::")[1] in REFUSED:
            raise RuntimeError(f"operation not permitted when stream is capturing: {func}")
        result = func(*args, **(kwargs or {}))
        self.calls.append((torch.is_grad_enabled(), func, args, kwargs or {}, result))
        return result


class Tape:
    """A `Recorder` that cannot record without doing the work, so that the first repetition does nothing."""

    def __init__(self) -> None:
        self.warm_ups = self.recorded = self.repeated = 0

    def warm_up(self, work: Callable[[], None]) -> None:
        self.warm_ups += 1
        work()

    def record(self, work: Callable[[], None]) -> Callable[[], None]:
        calls: list[Any] = []
        with _Recording(calls):
            work()
        self.recorded += 1
        done = True

        def replay() -> None:
            nonlocal done
            if not done:
                self.repeated += 1
                _repeat(calls)
            done = False

        return replay


def _repeat(calls: list[Any]) -> None:
    with torch._C._AutoDispatchBelowAutograd():  # as where they were recorded; some kernels ask for the mode even so
        for with_grad, func, args, kwargs, result in calls:
            with torch.set_grad_enabled(with_grad):
                again = func(*args, **kwargs)
            for there, now in zip(tree_leaves(result), tree_leaves(again), strict=True):
                if isinstance(now, torch.Tensor) and there.data_ptr() != now.data_ptr():
                    there.copy_(now)
