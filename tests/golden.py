"""The shared input of the golden numbers, and how a printed number is compared."""

from __future__ import annotations

import pytest
import torch

from rlkd_run.protocol import Batch

V = torch.tensor([[4, 1, 0, -1], [0.5, 2.5, 1, 0]], dtype=torch.float64)
U = torch.tensor([[2, 1, 0.5, -0.5], [0.2, 1, 1.5, -0.3]], dtype=torch.float64)
Y = torch.tensor([0, 1])
BATCH = Batch(torch.zeros(2, 3, 1, 1), Y, torch.arange(2))


def golden(text: str) -> object:
    """A printed number: relative 1e-5 plus half a unit of its last digit."""
    half = 0.5 * 10.0 ** -len(text.partition(".")[2])
    return pytest.approx(float(text), rel=1e-5, abs=half + 1e-5 * abs(float(text)))
