"""Counts against figures worked out by hand."""

from __future__ import annotations

from torch import nn

from rlkd_run.models.count import parameters


def test_running_statistics_are_no_parameters() -> None:
    model = nn.Sequential(nn.Conv2d(4, 6, 3, groups=2), nn.BatchNorm2d(6), nn.Linear(16, 5, bias=False))
    assert parameters(model) == 6 * 2 * 9 + 6 + 12 + 80
