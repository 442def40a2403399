"""Weights of a network on disk: our safetensors, and the checkpoints of the reference frameworks."""

from __future__ import annotations

import argparse
import errno
import json
import os
import pickle
import re
import struct
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from rlkd_run.errors import ConfigError
from rlkd_run.files import missing, write_atomically
from rlkd_run.models.layouts import STATE_KEYS, StateDict, named_as_in, state_dict_in
from rlkd_run.models.normalise import Normalisation, Renormalised
from rlkd_run.models.recognise import mismatch
from rlkd_run.models.unwrap import unwrapped

_NORMALISATION = "normalisation"

# What a damaged pickle or archive raises: its bytes are read as opcodes, offsets and lengths.
_DAMAGED = (
    pickle.UnpicklingError,
    RuntimeError,
    EOFError,
    ValueError,
    LookupError,
    AttributeError,
    TypeError,
    OverflowError,
    AssertionError,
    struct.error,
)


def load_weights(model: nn.Module, path: str | os.PathLike[str], *, what: str) -> list[str]:
    """Read weights into a network, strictly: every name and shape has to be there, and no other.

    Reads safetensors, and PyTorch files that hold a state dict under `model` (RepDistiller, CTKD, mdistiller),
    `state_dict`, `model_state_dict` or `net`, or only one under another name, or are one; with names as
    `layouts.named_as_in` takes them. No code in a file is ever executed. Weights of another precision are converted to
    the network's.

    Args:
        model: network, changed only if all is well; wrappers are looked through.
        path: the file.
        what: how messages call the file, the option it comes from: "teacher.checkpoint".

    Returns:
        In what the file was not taken as it is, in words.

    Raises:
        ConfigError: if the file is missing, damaged, would execute code, holds the weights of another architecture or
            for another number of classes, or values that are not finite or no plain numbers.
    """
    file = Path(path)
    inner = unwrapped(model)
    found, place = _read(file, what)
    state, names = named_as_in(inner, found)
    problem = mismatch(state, inner)
    if problem is not None:
        raise ConfigError(f"{what}: {file} {problem}")
    odd = [name for name, value in state.items() if not _is_plain(value)]
    if odd:
        raise ConfigError(
            f"{what}: {file} holds '{odd[0]}' as a tensor that is sparse, quantised, complex or without data; "
            "save it dense, as floats"
        )
    broken = [name for name, value in state.items() if not bool(value.float().isfinite().all())]
    if broken:
        raise ConfigError(f"{what}: {file} holds values that are not finite ({broken[0]}): its training diverged")
    inner.load_state_dict(state, strict=True)
    return [*place, *names]


def _is_plain(value: Tensor) -> bool:
    odd = value.is_quantized or value.is_nested or value.is_meta or value.is_complex()
    return value.layout is torch.strided and not odd


def _read(file: Path, what: str) -> tuple[StateDict, list[str]]:
    problem = missing(file, what)
    if problem is not None:
        raise ConfigError(problem)
    try:
        content = _read_safetensors(file) if _is_safetensors(file) else _read_pytorch(file)
    except _RefusedError as error:
        raise ConfigError(
            f"{what}: {file} is refused, not opened: it would run the Python object '{error}', which weights do not "
            "need; if you trust its source, save its state dict alone: torch.save(model.state_dict(), FILE)"
        ) from error
    except (*_DAMAGED, SafetensorError, OSError) as error:
        if isinstance(error, OSError) and error.errno != errno.EINVAL:  # which a jump beyond the file's end is
            raise ConfigError(f"{what}: {file} cannot be read ({error.strerror or error})") from error
        raise ConfigError(f"{what}: {file} is truncated, or no file of weights") from error
    found = state_dict_in(content)
    if found is None:
        raise ConfigError(
            f"{what}: {file} holds no state dict, neither as a whole nor under {', '.join(map(repr, STATE_KEYS))}, nor "
            "a single one under another name"
        )
    return found


def save_weights(model: nn.Module, path: str | os.PathLike[str]) -> None:
    """Write a network's weights as safetensors; the file appears whole or not at all, also if the machine stops.

    What a network expects of its images beyond what a data set gives them (`Renormalised`) stands in the file's header,
    where `stated_normalisation` finds it.

    Args:
        model: network; wrappers are looked through.
        path: the file, replaced if it exists; its folder is made.
    """
    file = Path(path)
    # Cloned: safetensors takes neither channels_last strides nor tensors that share memory.
    state = {
        name: value.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, value in unwrapped(model).state_dict().items()
    }
    file.parent.mkdir(parents=True, exist_ok=True)
    metadata = {"format": "pt"}
    if isinstance(model, Renormalised):
        metadata[_NORMALISATION] = json.dumps([model.to_mean, model.to_std])
    write_atomically(file, safetensors.torch.save(state, metadata=metadata))


def stated_normalisation(path: str | os.PathLike[str]) -> Normalisation | None:
    """What the weights in a file expect of their images, where `save_weights` has noted it; of any other file, None."""
    file = Path(path)
    try:
        if not _is_safetensors(file):
            return None
        with safetensors.safe_open(file, "pt") as content:
            stated = (content.metadata() or {}).get(_NORMALISATION)
    except (OSError, SafetensorError):  # which whoever reads the weights complains of
        return None
    if stated is None:
        return None
    mean, std = json.loads(stated)
    return tuple(mean), tuple(std)


class _RefusedError(Exception):
    """A pickle that names a Python object beyond tensors and plain containers."""


def _is_safetensors(file: Path) -> bool:
    # Eight bytes of length, then the header's JSON; neither a zip archive nor a pickle looks like that.
    with file.open("rb") as stream:
        head = stream.read(9)
    return head[8:] == b"{" or file.suffix == ".safetensors"


def _read_safetensors(file: Path) -> Any:
    return safetensors.torch.load(file.read_bytes())


def _read_pytorch(file: Path) -> Any:
    with torch.serialization.safe_globals(_RECORDS), warnings.catch_warnings():
        # Said of files that are no checkpoints; the sentence that the user gets says it better.
        warnings.filterwarnings("ignore", message="Detected pickle protocol")
        warnings.filterwarnings("ignore", message="Validating sparse tensor")
        try:
            return torch.load(file, map_location="cpu", weights_only=True)
        except pickle.UnpicklingError as error:
            wanted = re.search(r"GLOBAL (\S+)", str(error))
            if wanted is None:
                raise
            raise _RefusedError(wanted[1]) from error


class _Unread:
    """Takes what a file says of it, and does nothing with it."""

    def __init__(self, *arguments: object) -> None: ...

    def __setstate__(self, state: object) -> None: ...


def _unread(module: str, name: str) -> type:
    return type(name, (_Unread,), {"__module__": module})


# What lies beside the weights: the command line (RepDistiller's last checkpoint), a bare record without behaviour, and
# numbers of NumPy's, such as the best accuracy. NumPy does not get to see those: what is called so here takes them.
_RECORDS: list[Callable[..., Any] | tuple[Callable[..., Any], str]] = [
    argparse.Namespace,
    _unread("numpy", "dtype"),
    _unread("numpy", "ndarray"),
    *(_unread(f"numpy.{core}.multiarray", name) for core in ("core", "_core") for name in ("scalar", "_reconstruct")),
]
