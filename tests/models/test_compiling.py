"""What the compiler is told on a CPU: torch's batch norm and ReLU by other arithmetic, and only where it stands."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rlkd_run.models import compiling
from rlkd_run.models.compiling import batch_norm, batch_norm_backward, compile_for_cpu, threshold_backward

MOMENTUM, EPS = 0.1, 1e-5


def maps(*shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    """Far from zero mean and unit variance."""
    return (torch.randn(shape, dtype=torch.float64) * 3 + 5).to(dtype)


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("shape", [(4, 3, 5, 6), (2, 1, 1, 1)])
def test_a_batch_norm_is_torchs(affine: bool, shape: tuple[int, ...]) -> None:
    reference = nn.BatchNorm2d(shape[1], affine=affine, momentum=MOMENTUM, eps=EPS, dtype=torch.float64)
    reference.running_mean = maps(shape[1])
    reference.running_var = maps(shape[1]).abs()
    if affine:
        nn.init.normal_(reference.weight)
        nn.init.normal_(reference.bias)
    images, gradient = maps(*shape).requires_grad_(), maps(*shape)
    kept = reference.running_mean.clone(), reference.running_var.clone()
    normalised, mean, rstd, new_mean, new_var = batch_norm(
        images.detach(), reference.weight, reference.bias, *kept, True, MOMENTUM, EPS
    )
    gradients = batch_norm_backward(
        gradient, images.detach(), reference.weight, None, None, mean, rstd, True, EPS, [True, affine, False]
    )
    expected = reference(images)
    expected.backward(gradient)
    torch.testing.assert_close(normalised, expected)
    torch.testing.assert_close((new_mean, new_var), (reference.running_mean, reference.running_var))
    torch.testing.assert_close(gradients[0], images.grad)
    assert (gradients[1] is None) is not affine
    if affine:
        torch.testing.assert_close(gradients[1], reference.weight.grad)
    assert gradients[2] is None  # nobody asked for it


def test_little_cancels_where_the_mean_is_large() -> None:
    images = (torch.randn(64, 1, 8, 8, dtype=torch.float64) + 1000).float()
    exact = images.double()
    _, mean, rstd, *_ = batch_norm(images, None, None, torch.zeros(1), torch.ones(1), True, MOMENTUM, EPS)
    torch.testing.assert_close(mean, exact.mean().float().reshape(1))
    torch.testing.assert_close(rstd, (1 / exact.std(correction=0)).float().reshape(1), rtol=1e-4, atol=0)


@pytest.mark.parametrize("threshold", [0.0, 1.0])
def test_the_backward_pass_of_a_threshold_is_torchs(threshold: float) -> None:
    output = torch.tensor([-2.0, -0.0, 0.0, 0.5, 1.0, 2.0])
    gradient = torch.randn(6)
    expected = torch.ops.aten.threshold_backward(gradient, output, threshold)
    torch.testing.assert_close(threshold_backward(gradient, output, threshold), expected)


class Small(nn.Module):
    """A convolution, a batch norm, a ReLU, and a batch norm of vectors, which is left to the compiler."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(16)
        self.vectors = nn.BatchNorm1d(16)

    def forward(self, images: Tensor) -> Tensor:
        found: Tensor = self.vectors(F.relu(self.norm(self.convolution(images))).mean((2, 3)))
        return found


def gradients(network: nn.Module) -> Tensor:
    """All in one vector."""
    return torch.cat([value.grad.flatten() for value in network.parameters() if value.grad is not None])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["fp32", "bf16"])
def test_a_compiled_network_is_the_network(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def counted(images: Tensor, *arguments: Any) -> Any:
        asked.append(images.dim())
        return batch_norm(images, *arguments)

    monkeypatch.setattr(compiling, "batch_norm", counted)
    torch.compiler.reset()
    plain = Small().to(memory_format=torch.channels_last)
    fast = copy.deepcopy(plain)
    compiled = torch.compile(fast, dynamic=False, backend=compile_for_cpu)
    images, gradient = torch.randn(64, 3, 8, 8).to(memory_format=torch.channels_last), torch.randn(64, 16)
    for network in (plain, compiled):
        with torch.autocast("cpu", dtype, enabled=dtype is not torch.float32):
            network(images).float().backward(gradient)
    assert asked == [4]
    bound = 1e-4 if dtype is torch.float32 else 0.1
    ours, theirs = gradients(fast), gradients(plain)
    assert (ours - theirs).norm() < bound * theirs.norm()
    torch.testing.assert_close(dict(fast.named_buffers()), dict(plain.named_buffers()), rtol=0.01, atol=bound)
    for network in (plain, fast):
        network.eval()
    with torch.no_grad():
        torch.testing.assert_close(compiled(images), plain(images), rtol=1e-3, atol=1e-2)
    assert asked == [4]
