"""Rewards: what is measured, to whom it is credited, and on which scale."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from agent_support import feedback_of
from torch import Tensor

from rlkd_run.agent.reward import BatchReward, RunningMoments, accuracy, epoch_factor, macro_accuracy
from rlkd_run.protocol import Mix

CPU = torch.device("cpu")


def logits_of(predicted: list[int], classes: int = 5) -> Tensor:
    return F.one_hot(torch.tensor(predicted), classes).float()


def macro_by_hand(predicted: list[int], labels: list[int]) -> float:
    recalls = []
    for c in set(predicted) | set(labels):
        hits = [p == c for p, label in zip(predicted, labels, strict=True) if label == c]
        recalls.append(sum(hits) / len(hits) if hits else 0.0)
    return sum(recalls) / len(recalls)


@pytest.mark.parametrize(
    ("predicted", "labels"),
    [
        ([0, 1, 2], [0, 1, 2]),
        ([0, 0, 1, 2], [0, 0, 1, 1]),  # 2 is predicted and never the label: it counts as 0
        ([1, 1, 1, 1, 1], [0, 1, 2, 3, 4]),
        ([3], [4]),
        ([0, 0, 0, 1], [0, 0, 0, 0]),
    ],
)
def test_macro_accuracy_is_the_mean_over_classes_that_occur(predicted: list[int], labels: list[int]) -> None:
    measured = macro_accuracy(logits_of(predicted), torch.tensor(labels))
    assert measured.item() == pytest.approx(macro_by_hand(predicted, labels))
    assert measured.shape == ()


def test_accuracy_is_the_share_of_right_answers() -> None:
    assert accuracy(logits_of([0, 1, 2, 3]), torch.tensor([0, 1, 2, 4])).item() == 0.75


@pytest.mark.parametrize(
    ("epoch", "factor"),
    [
        (1, 10 * ((math.cos(math.pi / 75) + 1) / 2 + 1)),
        (20, 10 * ((math.cos(math.pi * 20 / 75) + 1) / 2 + 1)),
        (75, 10.0),
        (149, 10 * ((math.cos(math.pi * 149 / 75) + 1) / 2 + 1)),
        (150, 5.0),
        (180, 10.0),
        (195, 7.5),
        (210, 2.0),
        (225, 3.0),
        (239, 2 * ((math.cos(math.pi * 239 / 30) + 1) / 2 + 1)),
        (240, 1.0),
        (300, 1.0),
    ],
)
def test_the_factor_of_an_epoch(epoch: int, factor: float) -> None:
    assert epoch_factor(epoch) == pytest.approx(factor)


def test_running_moments_are_those_of_all_values_while_they_are_few() -> None:
    values = 3 + 0.1 * torch.randn(200, generator=torch.Generator().manual_seed(0))
    moments = RunningMoments(CPU)
    for chunk in values.split([1, 2, 16, 150, 31]):
        moments.update(chunk)
    assert moments.mean.item() == pytest.approx(values.mean().item(), rel=1e-5)
    assert moments.std.item() == pytest.approx(values.std(correction=0).item(), rel=1e-4)


def test_running_moments_follow_values_that_change_for_good() -> None:
    generator = torch.Generator().manual_seed(0)
    moments = RunningMoments(CPU)
    for mean, std in ((5.0, 10.0), (1.0, 0.1)):
        for _ in range(200):
            moments.update(mean + std * torch.randn(16, generator=generator))
    assert moments.mean.item() == pytest.approx(1.0, abs=0.05)
    assert moments.std.item() == pytest.approx(0.1, rel=0.3)


def test_the_deviation_of_equal_values_is_taken_as_1() -> None:
    moments = RunningMoments(CPU)
    assert moments.std.item() == 1
    moments.update(torch.full((4,), 0.25))
    assert (moments.mean.item(), moments.std.item()) == (0.25, 1)


@pytest.mark.parametrize("kind", ["accuracy", "macro_accuracy"])
def test_the_change_of_accuracy_is_known_with_the_next_batch(kind: str) -> None:
    reward = BatchReward(kind, "cause", CPU)
    target = torch.tensor([0, 1, 2, 3])
    assert reward.comes_with_next_batch
    assert reward.before_update(logits_of([0, 0, 0, 0]), target) is None  # nothing to compare with
    change = reward.before_update(logits_of([0, 1, 2, 3]), target)
    assert change is not None
    assert change.item() == pytest.approx(1 - (0.25 if kind == "accuracy" else macro_by_hand([0] * 4, [0, 1, 2, 3])))


def test_a_late_reward_is_that_of_the_step_before() -> None:
    target = torch.tensor([0, 1, 2, 3])
    batches = [[0, 0, 0, 0], [0, 1, 0, 0], [0, 1, 2, 3], [0, 1, 2, 0]]
    cause, late = BatchReward("accuracy", "cause", CPU), BatchReward("accuracy", "late", CPU)
    at_once = [cause.before_update(logits_of(predicted), target) for predicted in batches]
    later = [late.before_update(logits_of(predicted), target) for predicted in batches]
    assert [None if r is None else r.item() for r in at_once] == [None, 0.25, 0.5, -0.25]
    assert [None if r is None else r.item() for r in later] == [None, None, 0.25, 0.5]


def test_loss_drop_is_measured_on_the_batch_itself() -> None:
    generator = torch.Generator().manual_seed(0)
    before, behind = torch.randn(2, 6, 5, generator=generator)
    target = torch.randint(5, (6,), generator=generator)
    reward = BatchReward("loss_drop", "cause", CPU)
    assert not reward.comes_with_next_batch
    assert reward.before_update(before, target) is None
    drop = reward.after_update(feedback_of(lambda: behind))
    assert drop is not None
    assert torch.allclose(drop, F.cross_entropy(before, target) - F.cross_entropy(behind, target))


def test_loss_drop_counts_both_labels_of_mixed_images() -> None:
    generator = torch.Generator().manual_seed(0)
    before, behind = torch.randn(2, 6, 5, generator=generator)
    target, other = torch.randint(5, (2, 6), generator=generator)
    weight = torch.tensor([1.0, 0.5, 0.6, 0.7, 0.8, 0.9])
    reward = BatchReward("loss_drop", "cause", CPU)
    reward.before_update(before, target, Mix(other, weight, weight < 1))
    drop = reward.after_update(feedback_of(lambda: behind))
    shares = weight[:, None] * F.one_hot(target, 5) + (1 - weight)[:, None] * F.one_hot(other, 5)
    assert drop is not None
    assert torch.allclose(drop, F.cross_entropy(before, shares) - F.cross_entropy(behind, shares))


def test_probe_is_the_drop_since_the_update_before() -> None:
    reward = BatchReward("probe", "cause", CPU)
    losses = iter([2.0, 1.5, 1.75])
    drops = [reward.after_update(feedback_of(lambda: torch.tensor(next(losses)))) for _ in range(3)]
    assert [None if drop is None else drop.item() for drop in drops] == [None, 0.5, -0.25]


def test_an_epoch_starts_with_nothing_to_compare_with() -> None:
    target = torch.tensor([0, 1, 2, 3])
    reward = BatchReward("accuracy", "late", CPU)
    for _ in range(3):
        reward.before_update(logits_of([0, 0, 0, 0]), target)
    reward.begin_epoch()
    assert reward.before_update(logits_of([0, 1, 2, 3]), target) is None
    assert reward.before_update(logits_of([0, 1, 2, 3]), target) is None
