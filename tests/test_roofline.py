"""What a step takes at least: counts against figures worked out by hand."""

from __future__ import annotations

import pytest
import torch
from support import ROOT
from torch import nn

from rlkd_run.models.normalise import Renormalised


@pytest.fixture(autouse=True)
def _path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))


def test_convolutions_and_linear_layers_count() -> None:
    from bench_parts.roofline import multiply_adds

    model = nn.Sequential(
        nn.Conv2d(4, 6, 3, stride=2, padding=1, groups=2),
        nn.BatchNorm2d(6),
        nn.Flatten(2),
        nn.Linear(16, 5, bias=False),
    )
    assert multiply_adds(model, (4, 8, 8)) == 6 * 16 * (2 * 9) + 6 * 5 * 16


def test_wrappers_and_hooks_leave_no_trace() -> None:
    from bench_parts.roofline import multiply_adds

    model = nn.Conv2d(3, 2, 1)
    assert multiply_adds(Renormalised(model, (0,), (1,), (0.5,), (1,)), (3, 4, 4)) == 3 * 2 * 16
    assert not model._forward_hooks
    assert model.weight.grad is None
    assert torch.is_grad_enabled()


def test_the_bytes_of_a_linear_network() -> None:
    from bench_parts.roofline import work

    def network(width: int) -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(12, width, bias=False))

    found = work(network(5), network(3), (3, 2, 2), batch=2)
    assert found["multiply_adds_per_step"] == {"fp32": 2 * (60 + 3 * 36)}
    assert found["parameter_bytes_per_step"] == 4 * (60 + 8 * 36)
    assert found["feature_bytes_per_step"] == 4 * 2 * (2 * 5 + 5 * 3)
    cached = work(None, network(3), (3, 2, 2), batch=2)
    assert cached["multiply_adds_per_step"] == {"fp32": 2 * 3 * 36}
    assert cached["parameter_bytes_per_step"] == 4 * 8 * 36
    mixed = work(network(5).bfloat16(), network(3), (3, 2, 2), 2, ("bf16", "fp32"))
    assert mixed["multiply_adds_per_step"] == {"bf16": 2 * 60, "fp32": 2 * 3 * 36}
    assert mixed["parameter_bytes_per_step"] == 2 * 60 + 4 * 8 * 36
    assert mixed["feature_bytes_per_step"] == 2 * 2 * 2 * 5 + 4 * 2 * 5 * 3


def test_every_network_is_held_against_the_rate_of_its_precision() -> None:
    import bench

    one = {"multiply_adds_per_second": {"fp32": 10.0, "bf16": 40.0}, "bytes_per_second": 100.0}
    other = {"multiply_adds_per_second": {"fp32": 20.0}, "bytes_per_second": 50.0}
    elsewhere = {"multiply_adds_per_second": {"fp32": 90.0}, "bytes_per_second": 900.0}
    measured = {"a": ("cpu", one), "b": ("cpu", other), "c": ("gpu", elsewhere)}
    cases = {name: {"device": device, "rates": rates} for name, (device, rates) in measured.items()}
    best = bench.best_rates("cpu", cases)
    assert best == {"multiply_adds_per_second": {"fp32": 20.0, "bf16": 40.0}, "bytes_per_second": 100.0}
    needs = {"multiply_adds_per_step": {"bf16": 80.0, "fp32": 20.0}, "bytes_per_step": 50.0}
    found = bench.bound(needs, best, 6000.0)
    assert (found["compute_ms"], found["memory_ms"], found["achieved_share"]) == (3000.0, 500.0, 0.5)
