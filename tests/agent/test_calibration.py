"""Instance reward calibration: shares sum to the reward, and go to who earned it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from agent_support import make_options
from torch import Tensor

from rlkd_run.agent.calibration import (
    Calibrator,
    decompose,
    even_shares,
    explained,
    last_of,
    prediction_loss,
    without_place_effect,
)

CPU = torch.device("cpu")
KINDS = ("lstm", "linear", "uniform", "none")


def make_calibrator(kind: str = "lstm", **changes: Any) -> Calibrator:
    torch.manual_seed(0)
    return Calibrator(make_options(calibration={"kind": kind, **changes}).calibration, 3, CPU)


def padded(n: int, size: int, last_size: int) -> Tensor:
    """A mask of n batches, the last of them short."""
    mask = torch.ones(n, size)
    mask[-1, last_size:] = 0
    return mask


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("n", "size", "last_size"), [(1, 1, 1), (1, 64, 64), (16, 2, 1), (16, 16, 16), (16, 64, 16)])
def test_shares_sum_to_the_reward(kind: str, n: int, size: int, last_size: int) -> None:
    calibrator, mask = make_calibrator(kind), padded(n, size, last_size)
    states, actions, rewards = torch.rand(n, size, 3), torch.rand(n, size) * 2 - 1, 0.1 * torch.randn(n)
    mean, std = rewards.mean(), rewards.std(correction=0).clamp(min=0.01)
    calibrator.fit(states, actions, (rewards - mean) / std, mask)
    shares, _ = calibrator.shares(states, actions, rewards, mask, mean, std)
    assert shares.isfinite().all()
    assert (shares[mask == 0] == 0).all()
    assert torch.allclose(shares.sum(dim=1), rewards, rtol=1e-5, atol=1e-7)


def test_in_double_precision_the_sum_is_exact() -> None:
    mask = padded(16, 64, 16).double()
    predictions, rewards = torch.randn(16, 64).double(), torch.randn(16).double()
    shares = without_place_effect(decompose(predictions, rewards, rewards.mean(), mask), mask)
    assert torch.allclose(shares.sum(dim=1), rewards, rtol=1e-13, atol=1e-13)


def test_a_share_is_what_an_instance_adds_to_the_prediction() -> None:
    predictions, mask = torch.tensor([[0.5, 0.2, 1.0, 9.0]]), torch.tensor([[1.0, 1.0, 1.0, 0.0]])
    # start at 0.1: differences 0.4, -0.3, 0.8 sum to 0.9; the 0.6 that miss of 1.5 are spread evenly
    shares = decompose(predictions, torch.tensor([1.5]), torch.tensor(0.1), mask)
    assert torch.allclose(shares, torch.tensor([[0.6, -0.1, 1.0, 0.0]]))


def test_a_place_in_the_batch_earns_nothing() -> None:
    rewards, mask = torch.randn(16), torch.ones(16, 8)
    place = torch.linspace(5, -5, 8)
    shares = without_place_effect(even_shares(rewards, mask) + place, mask)
    assert torch.allclose(shares, even_shares(rewards, mask), atol=1e-6)


def test_predictions_are_trusted_as_far_as_they_explain() -> None:
    rewards = torch.tensor([0.0, 1.0, 2.0, 3.0])
    assert explained(rewards, rewards).item() == 1
    assert explained(rewards.mean().expand(4), rewards).item() == 0
    assert explained(rewards.flip(0), rewards).item() == 0
    assert explained(rewards.mean() + (rewards - rewards.mean()) / 2, rewards).item() == pytest.approx(0.75)
    assert explained(torch.ones(1), torch.ones(1)).item() == 0


def test_before_it_has_learnt_an_lstm_shares_evenly() -> None:
    rewards, mask = torch.randn(16), padded(16, 8, 5)
    states, actions = torch.rand(16, 8, 3), torch.rand(16, 8)
    shares, _ = make_calibrator().shares(states, actions, rewards, mask, rewards.mean(), rewards.std())
    assert torch.allclose(shares, even_shares(rewards, mask), atol=1e-6)


def test_shares_as_the_model_gives_them_on_request() -> None:
    rewards, mask = torch.randn(16), padded(16, 8, 5)
    states, actions = torch.rand(16, 8, 3), torch.rand(16, 8)
    noted, given = [], {}
    for trust in ("explained", "whole"):
        calibrator = make_calibrator(trust=trust, steps=40, lr=0.02)
        calibrator.fit(states, actions, rewards, mask)
        given[trust], told = calibrator.shares(states, actions, rewards, mask, torch.zeros(()), torch.ones(()))
        noted.append(told["calibration_trust"].item())
        predictions = calibrator._predict(states, actions).detach()
    assert torch.allclose(given["whole"], decompose(predictions, rewards, torch.zeros(()), mask), atol=1e-6)
    assert noted[0] == noted[1] == explained((predictions * last_of(mask)).sum(1), rewards).item()
    assert 0 < noted[0] < 1
    assert not torch.allclose(given["explained"], given["whole"], atol=1e-3)
    for shares in given.values():
        assert torch.allclose(shares.sum(1), rewards, atol=1e-5)


def test_both_forms_of_the_loss_by_hand() -> None:
    predictions, rewards = torch.tensor([[1.0, 3.0], [2.0, 4.0]]), torch.tensor([2.0, 7.0])
    # errors -1, 1 and -5, -3; of the last instances 1 and -3
    of_squares = (1 + 9) / 2 + 0.5 * ((1 + 1) / 2 + (25 + 9) / 2) / 2
    of_mean = ((1 - 3) / 2) ** 2 + 0.5 * ((-1 + 1 - 5 - 3) / 4) ** 2
    mask = torch.ones(2, 2)
    assert prediction_loss(predictions, rewards, mask, 0.5, "mean_of_squares").item() == pytest.approx(of_squares)
    assert prediction_loss(predictions, rewards, mask, 0.5, "square_of_mean").item() == pytest.approx(of_mean)


def test_the_last_instance_of_a_padded_row() -> None:
    assert last_of(torch.tensor([[1.0, 1.0, 1.0], [1.0, 0.0, 0.0]])).tolist() == [[0, 0, 1], [1, 0, 0]]


def test_what_lies_in_the_padding_is_not_seen() -> None:
    mask = padded(4, 8, 3)
    states, actions, rewards = torch.rand(4, 8, 3), torch.rand(4, 8), torch.randn(4)
    losses = []
    for junk in (0.0, 100.0):
        calibrator = make_calibrator()
        hidden = (1 - mask) * junk
        losses.append(calibrator.fit(states + hidden[..., None], actions + hidden, rewards, mask))
    assert losses[0] is not None
    assert losses[1] is not None
    assert losses[0].item() == pytest.approx(losses[1].item(), rel=1e-5)


def test_the_instance_that_earned_the_reward_gets_it() -> None:
    # 8 instances, one of them flagged; the return is that one's temperature, scaled to [-1, 1]
    generator = torch.Generator().manual_seed(0)
    calibrator = make_calibrator(lr=1e-2, steps=1)

    def sequences(n: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        states = torch.rand(n, 8, 3, generator=generator)
        flagged = torch.randint(8, (n,), generator=generator)
        states[..., 0] = torch.nn.functional.one_hot(flagged, 8)
        actions = torch.rand(n, 8, generator=generator) * 2 - 1
        rewards = (actions * states[..., 0]).sum(dim=1) / 3**-0.5
        return states, actions, rewards, flagged

    mask = torch.ones(64, 8)
    for _ in range(800):
        states, actions, rewards, _ = sequences(64)
        calibrator.fit(states, actions, rewards, mask)
    states, actions, rewards, flagged = sequences(512)
    shares, _ = calibrator.shares(states, actions, rewards, torch.ones(512, 8), torch.zeros(()), torch.ones(()))
    assert (shares.abs().argmax(dim=1) == flagged).float().mean().item() >= 0.8


def test_the_authors_mask_only_becomes_sparse() -> None:
    calibrator = make_calibrator("linear", critical_mask=True, steps=200)
    states, actions, rewards, mask = torch.rand(4, 8, 3), torch.rand(4, 8), torch.randn(4), torch.ones(4, 8)
    before = calibrator.masked(states).sum()
    calibrator.fit(states, actions, rewards, mask)
    assert calibrator.masked(states).shape == states.shape
    assert calibrator.masked(states).sum() < before


def test_a_mask_beside_an_lstm_keeps_what_predicts() -> None:
    calibrator = make_calibrator(critical_mask=True, sparsity=0.0, lr=1e-2, steps=400)
    generator = torch.Generator().manual_seed(0)
    states, actions = torch.rand(64, 8, 3, generator=generator), torch.rand(64, 8, generator=generator)
    states[..., 0] = (states[..., 0] > 0.8).float()
    loss = calibrator.fit(states, actions, states[..., 0].sum(dim=1), torch.ones(64, 8))
    assert loss is not None
    weights = calibrator.models["mask"].layers[0].weight.grad  # type: ignore[union-attr, index]
    assert weights is not None
    assert weights.abs().sum() > 0


def test_without_a_mask_states_are_seen_as_they_are() -> None:
    states = torch.rand(4, 8, 3)
    assert make_calibrator().masked(states) is states
