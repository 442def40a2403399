"""Work of a captured step that a GPU does beside the rest of it.

The kernels of small networks leave most of a GPU idle, and each waits for the one before. Three parts of a step are
waited for late: the gradients of the convolutions' weights, which only the update reads, the teacher's outputs, which
only the loss reads, and what the record notes. While a step is captured, those get streams of their own, which makes
them branches of the graph. The kernels are the same, so the bits are too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import cycle
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

STREAMS = 4  # kernels that run side by side take turns on the same multiprocessors, so more bring nothing


class Branches:
    """Streams beside the one that is captured. Where nothing is captured, everything is done in its place.

    A branch starts after all that the current stream was asked for before it, and must be joined before what it made is
    used, and before what it reads may go.

    Args:
        device: whose streams; None: there are none.
    """

    def __init__(self, device: torch.device | None) -> None:
        number = STREAMS if device is not None and device.type == "cuda" else 0
        self._streams = [torch.cuda.Stream(device) for _ in range(number)]  # type: ignore[no-untyped-call]
        self._next = cycle(self._streams)
        self._open: set[torch.cuda.Stream] = set()

    @property
    def exist(self) -> bool:
        """Whether anything is done beside anything else."""
        return bool(self._streams)

    @contextmanager
    def branch(self) -> Iterator[None]:
        """Do what is inside beside what comes after it."""
        if not self._streams or not torch.cuda.is_current_stream_capturing():
            yield
            return
        stream = next(self._next)
        stream.wait_stream(torch.cuda.current_stream())
        self._open.add(stream)
        with torch.cuda.stream(stream):
            yield

    def join(self) -> None:
        """Let the current stream wait for all branches."""
        for stream in self._open:
            torch.cuda.current_stream().wait_stream(stream)
        self._open.clear()
        # From the first one again: what is freed on a stream serves that stream alone, so a kind of step that is
        # captured later finds the memory of those before it where it asks.
        self._next = cycle(self._streams)


class _Job(NamedTuple):
    """A gradient that is under way, and what it is made of, which must not go before."""

    weights: tuple[Tensor, ...]
    gradients: tuple[Tensor, ...]
    read: tuple[Tensor, ...]


@dataclass
class _Cast:
    """A weight in low precision, and how often the weight itself had been changed by then."""

    value: Tensor
    version: int


class WeightGradients(TorchFunctionMode):
    """While entered, the convolutions that are called leave their weights' gradients to branches.

    Those are not in the graph: after the backward pass, `collect` adds them to the weights' ``grad``. So it is for one
    backward pass from a loss, not for gradients of something else.

    A network that is compiled has to `keep_apart` its convolutions instead.

    Args:
        branches: where they are computed.
    """

    def __init__(self, branches: Branches) -> None:
        super().__init__()
        self._branches = branches
        self._jobs: list[_Job] = []
        self._casts: dict[Tensor, _Cast] = {}

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Replace a convolution's backward pass; everything else is done as it is."""
        if func is torch.conv2d:
            return self._convolve(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))

    def keep_apart(self, model: nn.Module) -> None:
        """Have the convolutions of a model left out when it is compiled, and their weights' gradients to branches.

        What is compiled is then what lies between them: batch norms, activations and additions, which gain most.
        """
        for module in model.modules():
            if type(module) is nn.Conv2d and module.padding_mode == "zeros":
                apart = torch.compiler.disable(partial(self._convolved_by, module))  # type: ignore[no-untyped-call]
                module.forward = apart  # type: ignore[method-assign]

    def _convolved_by(self, module: nn.Conv2d, images: Tensor) -> Tensor:
        rest = (module.stride, module.padding, module.dilation, module.groups)
        return self._convolve(images, module.weight, module.bias, *rest)

    def _convolve(self, *args: Any, **kwargs: Any) -> Tensor:
        given = _given(*args, **kwargs)
        if given is not None and torch.is_grad_enabled():
            found: Tensor = _Convolution.apply(self, *given)
            return found
        return torch.conv2d(*args, **kwargs)

    def add(self, weights: tuple[Tensor, ...], read: tuple[Tensor, ...], make: Callable[[], Sequence[Tensor]]) -> None:
        """Begin to compute gradients [like `weights`] that `make` gives, from the tensors that it reads."""
        with self._branches.branch():
            made = zip(make(), weights, strict=True)
            gradients = tuple(_laid_out_like(weight, gradient.to(weight.dtype)) for gradient, weight in made)
        self._jobs.append(_Job(weights, gradients, read))

    def begin(self) -> None:
        """Begin a step: drop what one that broke off has left, and cast all weights of low precision at once."""
        self._branches.join()
        self._jobs.clear()
        if self._casts:
            with torch.no_grad():
                torch._foreach_copy_([kept.value for kept in self._casts.values()], list(self._casts))
            for weight, kept in self._casts.items():
                kept.version = weight._version

    def cast(self, weight: Tensor, dtype: torch.dtype) -> Tensor:
        """A weight in the precision that a convolution computes in: as cast when the step began, if it was met before.

        Its memory is the same in every step, so that a step that is captured casts with one kernel.
        """
        if weight.dtype == dtype:
            return weight
        kept = self._casts.get(weight)
        if kept is None or (kept.value.dtype, kept.value.device) != (dtype, weight.device):
            kept = self._casts[weight] = _Cast(weight.detach().to(dtype), weight._version)
        elif kept.version != weight._version:
            kept.value.copy_(weight.detach())
            kept.version = weight._version
        return kept.value

    def collect(self) -> None:
        """Wait for the branches, and give the weights their gradients."""
        self._branches.join()
        for job in self._jobs:
            for weight, gradient in zip(job.weights, job.gradients, strict=True):
                weight.grad = gradient if weight.grad is None else weight.grad + gradient
        self._jobs.clear()


class _Given(NamedTuple):
    """The arguments of `torch.conv2d`."""

    images: Tensor
    weight: Tensor
    bias: Tensor | None = None
    stride: Any = 1
    padding: Any = 0
    dilation: Any = 1
    groups: int = 1


def _given(*arguments: Any, **named: Any) -> _Given | None:
    """The arguments of a convolution that trains leaves; None of any other."""
    given = _Given(*arguments, **{"images" if name == "input" else name: value for name, value in named.items()})
    trained = [one for one in (given.weight, given.bias) if one is not None]
    if isinstance(given.padding, str) or not all(one.is_leaf and one.requires_grad for one in trained):
        return None
    images, kind = given.images, given.images.device.type
    if torch.is_autocast_enabled(kind):  # here, so that the gradient of the images is cast back
        images = images.to(torch.get_autocast_dtype(kind))
    stride, padding, dilation = map(_both, (given.stride, given.padding, given.dilation))
    return given._replace(images=images, stride=stride, padding=padding, dilation=dilation)


def _both(value: Any) -> list[int]:
    """Of height and width."""
    return [value] * 2 if isinstance(value, int) else list(value)


class _Convolution(torch.autograd.Function):
    """`torch.conv2d` of leaves; the gradients of weight and bias go to a `WeightGradients`."""

    @staticmethod
    def forward(ctx: Any, gradients: WeightGradients, *arguments: Any) -> Tensor:
        given = _Given(*arguments)
        ctx.gradients = gradients
        ctx.parameters = (given.weight,) if given.bias is None else (given.weight, given.bias)
        ctx.rest = (given.stride, given.padding, given.dilation, False, [0, 0], given.groups)
        weight = gradients.cast(given.weight, given.images.dtype)
        bias = None if given.bias is None else gradients.cast(given.bias, given.images.dtype)
        ctx.save_for_backward(given.images, weight)
        return torch.conv2d(given.images, weight, bias, given.stride, given.padding, given.dilation, given.groups)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of what `forward` was given; those of the parameters are under way."""
        images, weight = ctx.saved_tensors
        parameters: tuple[Tensor, ...] = ctx.parameters
        sizes = [weight.shape[0]] if len(parameters) == 2 else None

        def gradients(*wanted: bool) -> tuple[Tensor, ...]:
            found: tuple[Tensor, ...] = torch.ops.aten.convolution_backward(
                gradient, images, weight, sizes, *ctx.rest, wanted
            )
            return found

        def of_parameters() -> tuple[Tensor, ...]:
            return gradients(False, True, len(parameters) == 2)[1 : 1 + len(parameters)]

        ctx.gradients.add(parameters, (images, weight, gradient), of_parameters)
        of_images = gradients(True, False, False)[0] if ctx.needs_input_grad[1] else None
        return None, of_images, *[None] * 6


def _laid_out_like(weight: Tensor, gradient: Tensor) -> Tensor:
    """The gradient with the strides of its weight, which a fused optimiser takes for granted."""
    pairs = zip(weight.shape, weight.stride(), gradient.stride(), strict=True)
    alike = all(here == there for size, here, there in pairs if size > 1)
    return gradient if alike else torch.empty_like(weight).copy_(gradient)
