"""The least time that a step can take on a machine: its multiply-adds and bytes over measured rates.

Counted are convolutions and linear layers: the teacher's forward pass once, the student's three times (forward,
gradient of the inputs, gradient of the weights). A fast convolution algorithm (Winograd) needs fewer multiplications,
so a share above 1 is possible in principle.

Arithmetic is held against the rate of the precision that each network computes in, and a feature map of a network in
bf16 has two bytes a value.

Bytes, as if everything between two convolutions were fused into them:

    teacher     each parameter read once, as it is kept; each feature map written and read once
    student     a parameter is read in the forward and the backward pass, its gradient written and read, momentum and
                parameter read and written: 8 accesses; a feature map is written, read, read again in the backward
                pass, and its gradient written and read: 5 accesses
    images      uint8 pixels read, normalised images written and read by both networks
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from rlkd_run.device import full_precision
from rlkd_run.models.count import parameters
from rlkd_run.models.dry_run import watched_run
from rlkd_run.models.unwrap import unwrapped

FLOAT = 4  # bytes
DTYPES = {"fp32": torch.float32, "tf32": torch.float32, "bf16": torch.bfloat16}
"""What values lie in by the precision that they are multiplied in."""
STUDENT_PARAMETER, STUDENT_MAP = 8, 5  # accesses a step
TEACHER_PARAMETER, TEACHER_MAP = 1, 2


def multiply_adds(model: nn.Module, image_shape: tuple[int, int, int]) -> int:
    """Multiply-adds of the convolutions and linear layers for one image.

    Norms, activations, pooling and the products of attention are not counted, as in the tables of the literature.

    Args:
        model: any network.
        image_shape: (channels, height, width).
    """
    total = 0

    def count(module: nn.Module, _: Any, output: Tensor) -> None:
        nonlocal total
        if isinstance(module, nn.Linear):
            total += output.numel() * module.in_features
        elif isinstance(module, nn.Conv2d):
            total += output.numel() * module.weight[0].numel()

    model = unwrapped(model)
    layers = [module for module in model.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    watched_run(model, image_shape, layers, count)
    return total


def feature_values(model: nn.Module, shape: tuple[int, int, int]) -> int:
    """Values in the outputs of all convolutions and linear layers, for one image (channels, height, width)."""
    total = 0

    def count(_module: nn.Module, _inputs: Any, output: Tensor) -> None:
        nonlocal total
        total += output.numel()

    layers = [module for module in model.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    watched_run(model, shape, layers, count)
    return total


def work(
    teacher: nn.Module | None,
    student: nn.Module,
    shape: tuple[int, int, int],
    batch: int,
    precisions: tuple[str, str] = ("fp32", "fp32"),
) -> dict[str, Any]:
    """Multiply-adds, in all and by precision, and bytes of a step.

    Args:
        teacher: None in a step that reads its answers from a cache.
        student: which is trained.
        shape: of an image, [channels, height, width].
        batch: images a step.
        precisions: of teacher and student, as `DTYPES` names them.
    """
    own, students = (DTYPES[precision].itemsize for precision in precisions)
    each = {
        "teacher": 0 if teacher is None else multiply_adds(teacher, shape),
        "student": multiply_adds(student, shape),
    }
    by_precision: dict[str, float] = {}
    for precision, macs in zip(precisions, (each["teacher"], 3 * each["student"]), strict=True):
        if macs:
            by_precision[precision] = by_precision.get(precision, 0) + batch * macs
    values = shape[0] * shape[1] * shape[2]
    feature_bytes = students * batch * STUDENT_MAP * feature_values(student, shape)
    parameter_bytes = FLOAT * STUDENT_PARAMETER * parameters(student)
    if teacher is not None:
        feature_bytes += own * batch * TEACHER_MAP * feature_values(teacher, shape)
        parameter_bytes += TEACHER_PARAMETER * sum(p.numel() * p.element_size() for p in teacher.parameters())
    image_bytes = batch * values * (1 + 3 * FLOAT)
    return {
        "teacher_multiply_adds_per_image": each["teacher"],
        "student_multiply_adds_per_image": each["student"],
        "multiply_adds_per_step": by_precision,
        "parameter_bytes_per_step": parameter_bytes,
        "feature_bytes_per_step": feature_bytes,
        "image_bytes_per_step": image_bytes,
        "bytes_per_step": parameter_bytes + feature_bytes + image_bytes,
    }


def rates(
    device: torch.device, wait: Callable[[], None], precisions: Iterable[str] = ("fp32",), *, quick: bool
) -> dict[str, Any]:
    """What the machine can do at best: matrix products or convolutions, and copies within its memory.

    The two kinds of product come from different libraries, of which either may be the slower one.

    Args:
        device: where.
        wait: waits for it.
        precisions: to multiply in, as `DTYPES` names them; tf32 is what the process's switches allow.
        quick: small operands, for a smoke run.

    Returns:
        Multiply-adds a second by precision, and bytes a second (read and written), each the best of several tries.
    """
    count = 2**20 if quick else 2**28 if device.type == "cuda" else 2**26  # floats: 4 MiB, 1 GiB, 256 MiB
    source, target = torch.ones(2, count, device=device)  # beyond every cache
    return {
        "multiply_adds_per_second": {precision: _products(device, wait, precision, quick) for precision in precisions},
        "bytes_per_second": 2 * FLOAT * count / _least(lambda: target.copy_(source), wait),
    }


def _products(device: torch.device, wait: Callable[[], None], precision: str, quick: bool) -> float:
    """Multiply-adds a second."""
    dtype = DTYPES[precision]
    side = 256 if quick else 8192 if device.type == "cuda" else 2048
    a, b = torch.randn(2, side, side, device=device, dtype=dtype)
    product = torch.empty_like(a)
    pixels, channels = 8 if quick else 32, 64
    maps, kernel = (
        torch.randn(channels, channels, size, size, device=device, dtype=dtype).contiguous(
            memory_format=torch.channels_last
        )
        for size in (pixels, 3)
    )
    convolution = 9 * channels**3 * pixels**2
    with full_precision() if precision == "fp32" else nullcontext(), torch.no_grad():
        return max(
            side**3 / _least(lambda: torch.mm(a, b, out=product), wait),
            convolution / _least(lambda: torch.conv2d(maps, kernel, padding=1), wait),
        )


def _least(run: Callable[[], Any], wait: Callable[[], None], tries: int = 7) -> float:
    seconds = []
    for _ in range(tries):
        wait()
        began = time.perf_counter()
        run()
        wait()
        seconds.append(time.perf_counter() - began)
    return min(seconds)
