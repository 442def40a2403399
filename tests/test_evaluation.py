"""Accuracies are exact whatever the batch size."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from rlkd_run.evaluation import evaluate, hits
from rlkd_run.protocol import Batch


class Table(nn.Module):
    """Gives stored logits for images that hold their row number."""

    def __init__(self, logits: torch.Tensor) -> None:
        super().__init__()
        self.logits = logits
        self.modes: list[bool] = []

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.modes.append(self.training)
        return self.logits[images[:, 0, 0, 0].long()]


def batches(target: torch.Tensor, size: int) -> list[Batch]:
    index = torch.arange(len(target))
    return [Batch(rows.float().view(-1, 1, 1, 1), target[rows], rows) for rows in index.split(size)]


@pytest.mark.parametrize("size", [1, 7, 64, 1000])
def test_counts_every_image_once(size: int) -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(103, 20, generator=generator)
    target = torch.randint(20, (103,), generator=generator)
    rank = (logits > logits.gather(1, target[:, None])).sum(1)
    model = Table(logits).train()
    found = evaluate(model, batches(target, size))
    assert found.top1 == pytest.approx(100 * (rank == 0).float().mean().item())
    assert found.top5 == pytest.approx(100 * (rank < 5).float().mean().item())
    assert not any(model.modes)
    assert model.training


def test_few_classes_have_no_fifth() -> None:
    assert hits(torch.tensor([[1.0, 2.0], [2.0, 1.0]]), torch.tensor([0, 0])).tolist() == [1, 2]


def test_nothing_to_evaluate_is_an_error() -> None:
    with pytest.raises(ValueError, match="no batches"):
        evaluate(Table(torch.ones(1, 2)), [])
