"""How well logits agree with labels, of which a mixed image has two."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from rlkd_run.protocol import Mix


def cross_entropy(logits: Tensor, target: Tensor, mix: Mix | None) -> Tensor:
    """Mean cross entropy with the labels, 0-dim; of mixed images, with both labels by their shares.

    Args:
        logits: [B, C].
        target: [B] int64.
        mix: the second labels; None where no image is mixed.
    """
    if mix is None:
        return F.cross_entropy(logits, target)
    main = F.cross_entropy(logits, target, reduction="none")
    other = F.cross_entropy(logits, mix.target, reduction="none")
    return (mix.weight * main + (1 - mix.weight) * other).mean()
