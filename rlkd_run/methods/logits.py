"""What methods on logits share: standardised logits, and a warm-up of their divergences."""

from __future__ import annotations

from torch import Tensor

from rlkd_run.methods.base import Method
from rlkd_run.protocol import Outputs


def standardise(logits: Tensor) -> Tensor:
    """Z-scores of each instance: (l - mean) / (std + 1e-7), std with C - 1 in the denominator (arXiv 2403.01732).

    Args:
        logits: [B, C].

    Returns:
        [B, C]; 0 where all logits of an instance are equal.
    """
    centred = logits - logits.mean(1, keepdim=True)
    return centred / (logits.std(1, keepdim=True) + 1e-7)


def warm_up(epoch: int, epochs: int) -> float:
    """min(epoch / epochs, 1), with epochs counted from 1: a factor that grows to 1."""
    return min(epoch / epochs, 1.0)


class LogitMethod(Method):
    """A method on logits, which may be standardised before any temperature divides them.

    Logit standardisation (LSKD, arXiv 2403.01732) is a transform, not a loss of its own: with ``standardise=true``
    any of these methods runs on z-scores, and the temperature policy sees z-scores. The cross entropy with the labels
    stays on the logits as they are.
    """

    def __init__(self, *, standardise: bool, ce_weight: float) -> None:
        super().__init__()
        self.standardise = standardise
        self.ce_weight = ce_weight

    def student_logits(self, outputs: Outputs) -> Tensor:
        """[B, C], standardised if asked for."""
        return standardise(outputs.logits) if self.standardise else outputs.logits

    def teacher_logits(self, outputs: Outputs) -> Tensor:
        """[B, C], standardised if asked for."""
        return standardise(outputs.logits) if self.standardise else outputs.logits
