"""Top-1 and top-5 accuracy, exact whatever the batch size."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from rlkd_run.models.dry_run import evaluation_mode
from rlkd_run.protocol import Batch


class Accuracy(NamedTuple):
    """Accuracies in percent.

    Attributes:
        top1: share of images whose label is the most probable class.
        top5: share of images whose label is among the five most probable classes (all, where there are fewer).
    """

    top1: float
    top5: float


def hits(logits: Tensor, target: Tensor) -> Tensor:
    """Number of top-1 and top-5 hits, [2] int64, on the device.

    Args:
        logits: [B, C].
        target: [B].
    """
    ranked = logits.topk(min(5, logits.shape[1]), dim=1).indices == target.unsqueeze(1)
    return torch.stack([ranked[:, 0].sum(), ranked.any(1).sum()])


@torch.no_grad()
def evaluate(model: nn.Module, batches: Iterable[Batch]) -> Accuracy:
    """Accuracy of a network in evaluation mode; its mode is restored.

    Args:
        model: the network, whose mode is switched.
        batches: every image once.
    """
    total, count = None, 0
    with evaluation_mode(model):
        for batch in batches:
            found = hits(model(batch.images), batch.target)
            total = found if total is None else total + found
            count += len(batch.target)
    if total is None:
        raise ValueError("no batches to evaluate on")
    top1, top5 = (100 * value / count for value in total.tolist())
    return Accuracy(top1, top5)
