"""Top-1 and top-5 accuracy, exact whatever the batch size."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

import torch
from torch import Tensor, nn

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
def evaluate(model: nn.Module, batches: Iterable[Batch], forward: Callable[[Tensor], Tensor] | None = None) -> Accuracy:
    """Accuracy of a network in evaluation mode; its mode is restored.

    Args:
        model: the network, whose mode is switched.
        batches: every image once.
        forward: images -> logits [B, C]; the model itself if not given.
    """
    training = model.training
    model.eval()
    try:
        total, count = None, 0
        for batch in batches:
            found = hits((forward or model)(batch.images), batch.target)
            total = found if total is None else total + found
            count += len(batch.target)
    finally:
        model.train(training)
    if total is None:
        raise ValueError("no batches to evaluate on")
    top1, top5 = (100 * value / count for value in total.tolist())
    return Accuracy(top1, top5)
