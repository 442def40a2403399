"""Features of any network, by forward hooks: nothing is edited, and nothing is paid for what is not asked for."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from types import TracebackType
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils.hooks import RemovableHandle

from rlkd_run.branches import WeightGradients
from rlkd_run.errors import ConfigError
from rlkd_run.models.dry_run import dry_run
from rlkd_run.models.taps import Tap, classifier_of, map_taps, model_name, preactivation_taps, spatial
from rlkd_run.models.unwrap import unwrapped
from rlkd_run.protocol import Needs, Outputs

LOGITS_ONLY = Needs()

# For torch's compiler on a CPU: a batch norm's 1 / sqrt(variance + eps) is computed once a channel. Left to itself, the
# compiler moves it into the loop over the pixels and computes it for each of them.
_ONCE_A_CHANNEL = {"realize_opcount_threshold": 5}

# Where convolutions are kept apart, the compiler meets what lies between them in every shape anew, one after the other.
_PIECES = 64

# What the compiler warns of and a run has decided: that convolutions which are kept apart hand their results on, and
# that fp32 means fp32.
_SETTLED = ("The .grad attribute", "TensorFloat32 tensor cores")


class Network:
    """A network whose answer holds the features that a method needs.

    Hooks are registered only for what is needed, and only write during a call of this object, so several `Network`s may
    stand over one model, the model may be called on its own, and no feature outlives its `Outputs`. Not for calls from
    several threads at once, nor for one within another over the same model.

    Args:
        model: network of the zoo or of timm, or any that declares `map_modules` and `classifier_module` as the zoo's
            do; may be wrapped (`DistributedDataParallel`, `torch.compile`, `Renormalised`).
        needs: what `Outputs` shall hold beside the logits.
        precision: "bf16": the model computes in it where torch's autocast sees fit, its outputs are float32 again;
            "fp32" and "tf32": as the model is.

    Attributes:
        weight_gradients: where the convolutions' weights get their gradients; None: in the backward pass. To be set
            before the model is compiled, whose convolutions are then kept apart.

    Raises:
        ConfigError: if the model does not say where a needed feature is.
    """

    def __init__(self, model: nn.Module, needs: Needs = LOGITS_ONLY, precision: str = "fp32") -> None:
        self.model = model
        self.needs = needs
        self.precision = precision
        self.weight_gradients: WeightGradients | None = None
        self._inner = unwrapped(model)
        self._map_taps = map_taps(self._inner) if needs.maps else ()
        self._preactivation_taps = preactivation_taps(self._inner) if needs.preactivations else ()
        self._penultimate_taps = (Tap(classifier_of(self._inner)[0], at_input=True),) if needs.penultimate else ()
        self._seen: dict[Tap, Any] | None = None  # by the hooks, while a call is under way
        self._closed = False
        self._compiled: tuple[Callable[[Tensor], Tensor], frozenset[int]] = model, frozenset()
        # A point that serves two needs is read once.
        taps = dict.fromkeys((*self._map_taps, *self._preactivation_taps, *self._penultimate_taps))
        self._hooks = [self._hook(tap) for tap in taps]

    def __call__(self, images: Tensor) -> Outputs:
        """Run the model.

        Args:
            images: [B, 3, H, W].

        Returns:
            Logits [B, C], and what is needed of the penultimate feature [B, D] and the maps [B, D_k, H_k, W_k], after
            and before their activation.

        Raises:
            ConfigError: if a needed map turns out to have no spatial form, or the classifier's input is no vector.
        """
        if self._closed:
            raise RuntimeError("the network's hooks are removed: it cannot be called any more")
        if not self._hooks:
            return Outputs(self._run(images))
        captured = self._seen = {}
        try:
            logits = self._run(images)
        finally:
            self._seen = None
        maps, preactivations = (
            tuple(self._whole(spatial(self._inner, tap, captured.get(tap))) for tap in taps)
            for taps in (self._map_taps, self._preactivation_taps)
        )
        penultimate = [self._whole(self._vector(captured[tap])) for tap in self._penultimate_taps]
        return Outputs(logits, penultimate[0] if penultimate else None, maps, preactivations)

    @torch.no_grad()
    def logits_again(self, images: Tensor) -> Tensor:
        """Logits [B, C] in the model's present mode, with batch-norm statistics left as they were."""
        buffers = {name: buffer.clone() for name, buffer in self.model.named_buffers()}
        with self._autocast(images.device):
            return self._whole(functional_call(self.model, buffers, (images,)))

    def compile(self, *batch_sizes: int) -> None:
        """Put the model through torch's compiler; batches of other sizes than these take the plain way.

        Nothing happens where features are needed: hooks would break the graph at every one of them.

        Args:
            batch_sizes: of the batches to compile for, each when it comes.
        """
        if not self._hooks:
            for words in _SETTLED:
                warnings.filterwarnings("ignore", words)
            logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)  # a CUDA toolkit without a GPU
            if self.weight_gradients is not None:
                self.weight_gradients.keep_apart(self.model)
                torch._dynamo.config.recompile_limit = _PIECES
            on_gpu = next(self.model.parameters()).is_cuda
            options: dict[str, Any] | None = None if on_gpu else _ONCE_A_CHANNEL
            self._compiled = torch.compile(self.model, dynamic=False, options=options), frozenset(batch_sizes)

    def _autocast(self, device: torch.device) -> AbstractContextManager[object]:
        if self.precision != "bf16":
            return nullcontext()
        # Each weight is used once in a pass; a cast that was kept would be the memory of a step that is captured.
        return torch.autocast(device.type, torch.bfloat16, cache_enabled=False)

    def _run(self, images: Tensor) -> Tensor:
        compiled, sizes = self._compiled
        with self._autocast(images.device):
            if len(images) in sizes:
                return self._whole(compiled(images))
            with self.weight_gradients or nullcontext():
                return self._whole(self.model(images))

    def _whole(self, value: Tensor) -> Tensor:
        return value if self.precision != "bf16" else value.float()

    @property
    def classifier(self) -> nn.Linear:
        """The final linear layer, [D] -> [C].

        Raises:
            ConfigError: if the model does not end in one.
        """
        return classifier_of(self._inner)[1]

    @property
    def penultimate_width(self) -> int:
        """Width D of the penultimate feature.

        Raises:
            ConfigError: if the model does not end in one linear layer.
        """
        return self.classifier.in_features

    def map_shapes(self, image_shape: tuple[int, int, int]) -> tuple[tuple[int, int, int], ...]:
        """Shapes of the maps for images of a shape, whether or not this object gives maps.

        Args:
            image_shape: (channels, height, width).

        Returns:
            (D_k, H_k, W_k) of the stem's and each stage's map.

        Raises:
            ConfigError: if the model has no spatial maps.
        """
        with Network(self._inner, Needs(maps=True)) as probe:
            maps = dry_run(self._inner, image_shape, probe).maps
        return tuple(_shape(one.shape) for one in maps)

    def close(self) -> None:
        """Remove the hooks from the model; safe to repeat."""
        self._closed = True
        for hook in self._hooks:
            hook.remove()
        self._hooks = []

    def __enter__(self) -> Network:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _hook(self, tap: Tap) -> RemovableHandle:
        def keep(value: Any) -> None:
            if self._seen is not None:
                self._seen[tap] = value

        module = self._inner.get_submodule(tap.module)
        if tap.at_input:
            return module.register_forward_pre_hook(lambda _module, inputs: keep(inputs[0]))
        return module.register_forward_hook(lambda _module, _inputs, output: keep(output))

    def _vector(self, value: Tensor) -> Tensor:
        if value.ndim != 2:
            raise ConfigError(
                f"{model_name(self._inner)} gives its classifier {tuple(value.shape)} and not one vector an image, "
                "so a method that reads penultimate features needs another model"
            )
        return value


def _shape(sizes: Sequence[int]) -> tuple[int, int, int]:
    _, channels, height, width = sizes
    return channels, height, width
