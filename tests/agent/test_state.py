"""States: what is read off the logits."""

from __future__ import annotations

import math

import pytest
import torch
from agent_support import make_options

from rlkd_run.agent.state import Beliefs, StateFeatures, margin
from rlkd_run.config.agent import STATE_FEATURES

ONE_HOT = torch.tensor([[0.0, 1.0, 0.0, 0.0]])
UNIFORM = torch.full((1, 4), 0.25)


def features_of(names: list[str], teacher: torch.Tensor, student: torch.Tensor) -> torch.Tensor:
    target = torch.ones(len(teacher), dtype=torch.int64)
    return StateFeatures(names, "second_largest", 4)(Beliefs(teacher, student, target, progress=torch.tensor(0.25)))


def test_margin_runs_from_uniform_to_one_hot() -> None:
    assert margin(ONE_HOT).item() == 1
    assert margin(UNIFORM).item() == 0


def test_the_authors_margin_hardly_differs_from_the_confidence() -> None:
    probability = torch.tensor([[0.5, 0.3, 0.15, 0.05]])
    assert margin(probability).item() == pytest.approx(0.2)
    assert margin(probability, "second_smallest").item() == pytest.approx(0.35)


def test_margin_of_two_classes() -> None:
    probability = torch.tensor([[0.75, 0.25]])
    assert margin(probability).item() == 0.5
    assert margin(probability, "second_smallest").item() == 0.0  # of two, the second smallest is the largest


def test_the_state_of_the_paper() -> None:
    names = make_options().state.features
    state = features_of(list(names), 60 * ONE_HOT, torch.zeros(1, 4))
    assert torch.allclose(state, torch.tensor([[1.0, 0.25, 0.0]]))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("teacher_margin", 0.45),
        ("student_entropy", 1.0),
        ("teacher_entropy", -(0.6 * math.log(0.6) + 0.1 * math.log(0.1) + 0.3 * math.log(0.15)) / math.log(4)),
        ("teacher_true_probability", 0.1),
        ("student_true_probability", 0.25),
        ("divergence", 0.6 * math.log(2.4) + 0.1 * math.log(0.4) + 0.3 * math.log(0.6)),
        ("progress", 0.25),
    ],
)
def test_further_features(name: str, expected: float) -> None:
    teacher = torch.tensor([[0.6, 0.1, 0.15, 0.15]])
    assert features_of([name], teacher.log(), torch.zeros(1, 4)).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("size", [1, 2, 16, 64])
@pytest.mark.parametrize("scale", [0.0, 1.0, 1000.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_every_feature_is_finite_float32_without_graph(size: int, scale: float, dtype: torch.dtype) -> None:
    teacher, student = (scale * torch.randn(2, size, 4)).to(dtype).unbind()
    student.requires_grad_()
    state = features_of(list(STATE_FEATURES), teacher, student)
    assert state.shape == (size, len(STATE_FEATURES))
    assert state.dtype == torch.float32
    assert state.isfinite().all()
    assert not state.requires_grad
