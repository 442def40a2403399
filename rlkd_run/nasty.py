"""Teachers that resist distillation: self-undermining (arXiv 2105.07381)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from rlkd_run.config.models import NastyOptions
from rlkd_run.methods.base import cross_entropy, softened_divergence
from rlkd_run.models.features import Network
from rlkd_run.objectives import StepLosses, Supervised
from rlkd_run.protocol import Batch, Temperatures


def undermining(logits: Tensor, adversary: Tensor, temperature: Tensor, max_divergence: float) -> Tensor:
    """T^2 * min(KL(softmax(v / T) || softmax(a / T)), bound) of each instance, [B].

    The bound is ours. Without it, the divergence may reach -ln of the adversary's smallest probability, and with a
    large omega that is worth more than a right answer; an instance that has reached it gives no gradient any more and
    leaves the field to its cross entropy.

    Args:
        logits: v, of the teacher in training, [B, C].
        adversary: a, of a normal teacher, [B, C].
        temperature: T, 0-dim.
        max_divergence: the bound, in nats.
    """
    scale = temperature.square()
    return softened_divergence(logits, adversary, Temperatures.equal(temperature)).clamp(max=scale * max_divergence)


class Nasty(Supervised):
    """CE(v, y) - omega * mean_i T^2 min(KL(softmax(v_i / T) || softmax(a_i / T)), bound).

    The teacher answers correctly, and everywhere else as differently from a normal teacher as it can: what is right for
    an accuracy is wrong for a student.

    Args:
        model: the teacher in training.
        adversary: a normally trained network; frozen, and in evaluation mode.
        options: omega, T and the bound.
        num_classes: C.
    """

    def __init__(self, model: nn.Module, adversary: nn.Module, options: NastyOptions, num_classes: int) -> None:
        super().__init__(Network(model))
        self.adversary = adversary.eval().requires_grad_(False)
        self._omega = options.omega
        device = next(model.parameters()).device
        self._temperature = torch.tensor(options.temperature, device=device)
        self._bound = math.log(num_classes) if options.max_divergence is None else options.max_divergence

    def losses(self, batch: Batch, epoch: int, step: int, position: Tensor | None = None) -> StepLosses:  # noqa: ARG002
        """Parts ``ce`` and ``undermining`` (which is negative)."""
        with torch.no_grad():
            adversary = self.adversary(batch.images)
        logits = self.network(batch.images).logits
        apart = undermining(logits, adversary, self._temperature, self._bound)
        parts = {"ce": cross_entropy(logits, batch), "undermining": -self._omega * apart.mean()}
        return StepLosses(parts, logits, None)
