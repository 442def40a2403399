"""Limits, validation and probe images: balanced, disjoint, decided by position alone."""

from __future__ import annotations

import pytest
import torch

from rlkd_run.data.selection import limited, split_training
from rlkd_run.errors import ConfigError


def counts(labels: torch.Tensor, positions: torch.Tensor, classes: int) -> list[int]:
    numbers: list[int] = torch.bincount(labels[positions], minlength=classes).tolist()
    return numbers


def test_a_limit_goes_round_by_round() -> None:
    labels = torch.tensor([2, 0, 0, 0, 1, 1])
    # Round 1 takes the first of every class in the order of the labels: 1, 4, 0; round 2: 2, 5; round 3: 3.
    for limit, expected in ((1, [1]), (2, [1, 4]), (3, [0, 1, 4]), (4, [0, 1, 2, 4]), (5, [0, 1, 2, 4, 5])):
        assert limited(labels, limit, "dataset.train_limit").tolist() == expected
    for everything in (6, None):
        assert limited(labels, everything, "dataset.train_limit").tolist() == list(range(6))


def test_limits_are_balanced_and_grow_into_each_other() -> None:
    labels = torch.randint(0, 7, (1000,), generator=torch.Generator().manual_seed(0))
    before: set[int] = set()
    for limit in (1, 7, 50, 350, 699):
        chosen = limited(labels, limit, "dataset.train_limit")
        numbers = counts(labels, chosen, 7)
        assert len(chosen) == limit
        assert max(numbers) - min(numbers) <= 1
        assert torch.equal(chosen, chosen.sort().values)
        assert before < set(chosen.tolist())
        before = set(chosen.tolist())
        for label in range(7):
            of_class = (labels == label).nonzero().flatten()
            assert torch.equal(chosen[labels[chosen] == label], of_class[: numbers[label]])


@pytest.mark.parametrize("limit", [None, 300])
def test_splits_are_balanced_and_disjoint(limit: int | None) -> None:
    labels = (torch.arange(1000) * 7) % 10
    split = split_training(labels, limit, 0.1, 25)
    everything = torch.cat(split)
    assert torch.equal(everything.sort().values, limited(labels, limit, "dataset.train_limit"))
    size = (limit or 1000) // 10
    assert counts(labels, split.val, 10) == [size // 10] * 10
    assert counts(labels, split.probe, 10) == [3] * 5 + [2] * 5
    for part in split:
        assert torch.equal(part, part.sort().values)
    again = split_training(labels, limit, 0.1, 25)
    assert all(torch.equal(one, other) for one, other in zip(split, again, strict=True))


def test_shares_are_rounded_and_the_last_images_are_held_out() -> None:
    labels = torch.tensor([0] * 10 + [1] * 5 + [2])
    split = split_training(labels, None, 0.3, 0)
    assert split.val.tolist() == [7, 8, 9, 13, 14]  # 3 of 10; 1.5 of 5 is 2; one of one must stay
    assert len(split.probe) == 0
    assert counts(labels, split_training(labels, None, 0.99, 0).train, 3) == [1, 1, 1]


def test_probe_images_are_the_last_of_the_rest() -> None:
    labels = torch.tensor([0, 0, 0, 0, 1, 1, 2])
    assert split_training(labels, None, 0, 3).probe.tolist() == [2, 3, 5]
    assert split_training(labels, None, 0.2, 2).probe.tolist() == [2, 5]  # 3 is held out
    assert split_training(labels, None, 0, 4).train.tolist() == [0, 4, 6]


def test_too_much_is_refused() -> None:
    labels = torch.arange(20) % 4
    for ask, words in (
        (lambda: limited(labels, 21, "dataset.test_limit"), ["dataset.test_limit=21", "20 images"]),
        (lambda: split_training(labels, 21, 0, 0), ["dataset.train_limit=21", "20 images"]),
        (lambda: split_training(labels, 4, 0.5, 0), ["dataset.val_split=0.5", "1 training"]),
        (lambda: split_training(labels, None, 0.01, 0), ["dataset.val_split=0.01", "5 training"]),
        (lambda: split_training(labels, None, 0.2, 13), ["13 probe images", "only 12", "agent.probe_images"]),
    ):
        with pytest.raises(ConfigError) as caught:
            ask()
        (problem,) = caught.value.problems
        assert all(word in problem for word in words), problem
