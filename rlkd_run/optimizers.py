"""torch's optimisers without what is there for its compiler.

Their methods are wrapped so that `torch.compile` leaves them alone, and the first call of a wrapper imports the whole
compiler: seconds at the start of every process, for a program that compiles nothing. The methods inside are the same.
"""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch.optim import Optimizer


class _Plain(Optimizer):
    """The methods that all optimisers share, unwrapped."""

    add_param_group = inspect.unwrap(Optimizer.add_param_group)
    zero_grad = inspect.unwrap(Optimizer.zero_grad)
    state_dict = inspect.unwrap(Optimizer.state_dict)
    load_state_dict = inspect.unwrap(Optimizer.load_state_dict)


class SGD(_Plain, torch.optim.SGD):
    """`torch.optim.SGD`; its steps record no graph."""

    step = torch.no_grad()(inspect.unwrap(torch.optim.SGD.step))


class Adam(_Plain, torch.optim.Adam):
    """`torch.optim.Adam`; its steps record no graph.

    Whether they can be captured depends on the device, so a state that comes from another one does not decide it.
    """

    step = torch.no_grad()(inspect.unwrap(torch.optim.Adam.step))

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore what `state_dict` gave."""
        capturable = [group["capturable"] for group in self.param_groups]
        super().load_state_dict(state_dict)
        for group, own in zip(self.param_groups, capturable, strict=True):
            group["capturable"] = own
