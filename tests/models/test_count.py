"""Counts against figures worked out by hand."""

from __future__ import annotations

import torch
from torch import nn

from rlkd_run.models.count import multiply_adds, parameters
from rlkd_run.models.normalise import Renormalised


def test_convolutions_and_linear_layers_count() -> None:
    model = nn.Sequential(
        nn.Conv2d(4, 6, 3, stride=2, padding=1, groups=2),
        nn.BatchNorm2d(6),
        nn.Flatten(2),
        nn.Linear(16, 5, bias=False),
    )
    assert parameters(model) == 6 * 2 * 9 + 6 + 12 + 80
    assert multiply_adds(model, (4, 8, 8)) == 6 * 16 * (2 * 9) + 6 * 5 * 16


def test_wrappers_and_hooks_leave_no_trace() -> None:
    model = nn.Conv2d(3, 2, 1)
    assert multiply_adds(Renormalised(model, (0,), (1,), (0.5,), (1,)), (3, 4, 4)) == 3 * 2 * 16
    assert not model._forward_hooks
    assert model.weight.grad is None
    assert torch.is_grad_enabled()
