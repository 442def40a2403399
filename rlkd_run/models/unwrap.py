"""The network inside its wrappers."""

from __future__ import annotations

from torch import nn

# DistributedDataParallel, torch.compile, and `rlkd_run.models.normalise.Renormalised`.
_WRAPPED_AS = ("module", "_orig_mod", "renormalised")


def unwrapped(model: nn.Module) -> nn.Module:
    """Give the network that `DistributedDataParallel`, `torch.compile` or `Renormalised` was put around.

    Names of modules and parameters are those of the inner network, whatever was wrapped around it.
    """
    for name in _WRAPPED_AS:
        inner = model._modules.get(name)
        if inner is not None and len(model._modules) == 1:
            return unwrapped(inner)
    return model
