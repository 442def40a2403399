"""Exploration: who is mixed with whom, how much, and when."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from agent_support import IMAGES, make_agent, make_options, observation
from torch import Tensor

from rlkd_run.agent.exploration import InstanceScores, mix_plan
from rlkd_run.config.agent import ExplorationOptions
from rlkd_run.protocol import Mix

CPU = torch.device("cpu")


def options(**changes: Any) -> ExplorationOptions:
    return make_options(exploration=changes).exploration


def scores_of(per_instance: bool = True) -> InstanceScores:
    """Five images: 0 and 1 seen twice, 2 and 3 once, 4 never."""
    scores = InstanceScores(5, per_instance, CPU)
    scores.update(torch.tensor([0, 1]), torch.tensor([0.5, 2.0]), None)
    scores.update(torch.tensor([0, 1]), torch.tensor([1.5, 1.0]), None)
    scores.update(torch.tensor([3, 2]), torch.tensor([0.1, 0.9]), None)
    return scores


def test_the_score_is_the_mean_entropy_weighted_by_how_often_the_image_was_seen() -> None:
    twice, once = (2 / 40) ** 0.03, (1 / 40) ** 0.03
    expected = [twice * 1.0, twice * 1.5, once * 0.9, once * 0.1, -1.0]
    assert scores_of().scores().tolist() == pytest.approx(expected)


def test_the_authors_score_does_not_tell_how_often_an_image_was_seen() -> None:
    factor = (2 / 40) ** 0.03
    scores = scores_of(per_instance=False).scores().tolist()
    assert scores == pytest.approx([factor * value / 2 for value in (2.0, 3.0, 0.9, 0.1)] + [-1.0])


def test_mixtures_tell_nothing_about_an_image() -> None:
    scores = scores_of()
    before = scores.scores()
    mixed = torch.tensor([True, False, True])
    scores.update(torch.tensor([0, 3, 3]), torch.tensor([9.0, 0.3, 9.0]), mixed)
    after = scores.scores()
    assert torch.equal(after[[0, 1, 2, 4]], before[[0, 1, 2, 4]])
    assert after[3].item() == pytest.approx((2 / 40) ** 0.03 * 0.2)


def test_the_agent_scores_what_the_student_believes() -> None:
    agent = make_agent(make_options(warmup_epochs=5))  # scores are gathered from the first epoch on
    agent.begin_epoch(1)
    seen = observation(agent, 0)
    mixed = torch.arange(64) % 4 == 0
    agent.temperatures(observation(agent, 0, mix=Mix(torch.zeros(64, dtype=torch.int64), torch.ones(64), mixed)))
    p = seen.student_logits.softmax(1)
    entropy = -(p * p.log()).sum(1)
    expected = torch.full((IMAGES,), -1.0)
    expected[seen.index[~mixed]] = (1 / 40) ** 0.03 * entropy[~mixed]
    assert torch.allclose(agent.scores.scores(), expected, atol=1e-6)


def shuffled_scores(number: int) -> tuple[Tensor, Tensor]:
    """Some scores, and the images from the highest to the lowest."""
    scores = torch.rand(number, generator=torch.Generator().manual_seed(0))
    return scores, scores.argsort(descending=True, stable=True)


@pytest.mark.parametrize("number", [100, 1000, 50_000])
def test_low_ranks_are_mixed_with_high_ones_in_order(number: int) -> None:
    scores, ranked = shuffled_scores(number)
    plan = mix_plan(scores, options())
    high, low = ranked[number // 10 : number // 5], ranked[number * 8 // 10 : number * 9 // 10]
    assert torch.equal(plan.partner[low], high)
    assert torch.allclose(plan.weight[low], torch.linspace(1.0, 0.7, number // 10))
    assert plan.weight[low[0]] == 1.0
    assert plan.weight[low[-1]].item() == pytest.approx(0.7)
    untouched = torch.ones(number, dtype=torch.bool)
    untouched[low] = False
    assert torch.equal(plan.partner[untouched], torch.arange(number)[untouched])
    assert (plan.weight[untouched] == 0).all()


def test_an_image_that_was_never_seen_neither_mixes_nor_is_mixed() -> None:
    scores, ranked = shuffled_scores(100)
    scores[ranked[85:]] = -1.0  # half of the low band is unknown
    plan = mix_plan(scores, options())
    assert torch.equal(plan.partner[ranked[80:85]], ranked[10:15])
    assert (plan.weight == 0).sum() == 95
    assert torch.equal(plan.partner[ranked[85:]], ranked[85:])
    assert (mix_plan(torch.full((100,), -1.0), options()).weight == 0).all()


def test_too_few_images_are_left_as_they_are() -> None:
    plan = mix_plan(torch.rand(2), options())
    assert (plan.weight == 0).all()
    assert plan.partner.tolist() == [0, 1]


@pytest.mark.parametrize("labels", ["mixed", "low"])
def test_the_plan_says_which_labels_count(labels: str) -> None:
    assert mix_plan(torch.rand(100), options(labels=labels)).labels == labels


def test_bands_and_weights_are_options() -> None:
    scores, ranked = shuffled_scores(10)
    plan = mix_plan(scores, options(high=[0.0, 0.2], low=[0.5, 1.0], weights=[0.6, 0.5]))
    assert plan.partner[ranked[[5, 6]]].tolist() == ranked[:2].tolist()
    assert plan.weight[ranked[[5, 6]]].tolist() == pytest.approx([0.6, 0.5])
    assert plan.weight.count_nonzero() == 2  # as many pairs as the smaller band has images


@pytest.mark.parametrize(
    ("when", "expected"),
    [("early", [20, 40, 60, 80, 100, 120]), ("code", list(range(40, 241, 20))), ("none", [])],
)
def test_epochs_of_exploration(when: str, expected: list[int]) -> None:
    agent = make_agent(make_options(exploration={"epochs": when}, warmup_epochs=20, train_every=20))
    explored = []
    for epoch in range(1, 241):
        if agent.begin_epoch(epoch) is not None:
            explored.append(epoch)
        agent.end_epoch()
    assert explored == expected


def test_the_first_training_epoch_is_the_first_multiple_after_the_warm_up() -> None:
    agent = make_agent(make_options(exploration={"epochs": "code"}, warmup_epochs=21, train_every=20))
    explored = [epoch for epoch in (20, 21, 40, 60) if agent.begin_epoch(epoch) is not None]
    assert explored == [60]


def test_the_first_epoch_knows_no_scores_and_is_not_mixed() -> None:
    agent = make_agent()
    assert agent.begin_epoch(1) is None


def test_a_plan_follows_from_what_was_seen() -> None:
    agent = make_agent(make_options(train_every=2))
    agent.begin_epoch(1)
    for step, index in enumerate(torch.randperm(IMAGES).split(50)):
        agent.temperatures(observation(agent, step, 50, index=index))
    agent.end_epoch()
    scores = agent.scores.scores().clone()
    plan = agent.begin_epoch(2)
    assert plan is not None
    mixed = plan.weight > 0
    assert mixed.sum() == IMAGES / 10
    assert (scores[plan.partner[mixed]] > scores[mixed]).all()
    assert math.isclose(plan.weight.amax().item(), 1.0)
