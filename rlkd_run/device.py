"""Where a run computes, and how it keeps its promise of equal bits."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.utils.deterministic

from rlkd_run.config.run import RuntimeOptions
from rlkd_run.errors import ConfigError
from rlkd_run.heap import keep_freed_memory


def choose(options: RuntimeOptions) -> torch.device:
    """Find the device that is asked for.

    Raises:
        ConfigError: a GPU is asked for and there is none.
    """
    available = torch.cuda.is_available()
    if options.device == "cuda" and not available:
        raise ConfigError("runtime.device=cuda, but torch sees no GPU here; runtime.device=auto takes what there is.")
    return torch.device("cuda" if available and options.device != "cpu" else "cpu")


def prepare(options: RuntimeOptions) -> torch.device:
    """Choose the device and set the switches of the whole process: threads, determinism, precision, memory.

    Raises:
        ConfigError: as `choose`.
    """
    device = choose(options)
    if device.type == "cpu":
        keep_freed_memory()
    if options.num_threads is not None:
        torch.set_num_threads(options.num_threads)
    if options.deterministic:
        # Some CUDA kernels have no deterministic form; torch names them in a warning rather than refusing the run.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.set_deterministic_debug_mode("warn")  # its twin, use_deterministic_algorithms, imports the compiler
        # By default every new tensor is filled in this mode as well, against kernels that read what nobody has written.
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.backends.cudnn.benchmark = not options.deterministic
    # Unless asked for, not even convolutions, where it is torch's default: it keeps 10 bits of the inputs' mantissas.
    _allow_tf32(options.precision == "tf32")
    return device


def channels_last(options: RuntimeOptions, device: torch.device) -> bool:
    """Whether images and maps lie as NHWC: as asked for, or else as the device's convolutions are fastest with.

    On a GPU that is what its tensor cores want; without them, cuDNN turns most maps to NCHW and back.
    """
    if options.channels_last is not None:
        return options.channels_last
    return device.type == "cpu" or options.precision != "fp32"


def _allow_tf32(allowed: bool) -> None:
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = allowed


@contextmanager
def full_precision() -> Iterator[None]:
    """No TF32 for a while: a teacher that is trained for runs of every precision."""
    before = torch.backends.cuda.matmul.allow_tf32
    _allow_tf32(False)
    try:
        yield
    finally:
        _allow_tf32(before)


def describe(device: torch.device) -> dict[str, Any]:
    """The device in words, for the record."""
    if device.type == "cuda":
        return {"device": torch.cuda.get_device_name(device)}
    return {"device": "cpu", "threads": torch.get_num_threads()}
