"""Instance reward calibration: a batch's reward becomes one share for each of its instances.

arXiv 2407.00115 calibrates by reward decomposition; ours follows RUDDER (arXiv 1806.07857): a sequence model reads the
batch instance by instance and predicts the batch's reward at every position; what a position adds to the prediction is
that instance's share.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from rlkd_run.agent.ppo import adam
from rlkd_run.config.agent import CalibrationOptions


class LSTMModel(nn.Module):
    """Prediction of the reward after each instance of a batch, from all instances so far."""

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(inputs, hidden, batch_first=True)
        self.head = nn.Linear(hidden, 1)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, sequences: Tensor) -> Tensor:
        """Predictions [n, B] of sequences [n, B, inputs]."""
        hidden, _ = self.lstm(sequences)
        prediction: Tensor = self.head(hidden).squeeze(-1)
        return prediction


class LinearModel(nn.Module):
    """What stands in the LSTM's place in the authors' code: each position sees its own instance only."""

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(inputs, hidden), nn.Linear(hidden, 1))

    def forward(self, sequences: Tensor) -> Tensor:
        """Predictions [n, B] of sequences [n, B, inputs]."""
        prediction: Tensor = self.layers(sequences).squeeze(-1)
        return prediction


class CriticalStateMask(nn.Module):
    """How critical a state is, in (0, 1): linear layers and a sigmoid (authors' code)."""

    def __init__(self, features: int, hidden: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(features, hidden), nn.Linear(hidden, 1), nn.Sigmoid())

    def forward(self, states: Tensor) -> Tensor:
        """Factors [..., 1] of states [..., F]."""
        factor: Tensor = self.layers(states)
        return factor


def last_of(mask: Tensor) -> Tensor:
    """1 at the last instance of each row of a padded mask [n, B], else 0."""
    return mask - torch.cat([mask[:, 1:], torch.zeros_like(mask[:, :1])], dim=1)


def prediction_loss(predictions: Tensor, rewards: Tensor, mask: Tensor, auxiliary: float, form: str) -> Tensor:
    """(g_B - R)^2 + auxiliary * mean_i (g_i - R)^2, averaged over the sequences.

    Args:
        predictions: g, [n, B].
        rewards: R, [n], in the units of the predictions.
        mask: 1 for an instance, 0 for padding, [n, B].
        auxiliary: weight of the second term.
        form: "mean_of_squares"; "square_of_mean", as in the authors' code, lets errors of opposite sign cancel.
    """
    error = (predictions - rewards[:, None]) * mask
    final = (error * last_of(mask)).sum(dim=1)
    if form == "square_of_mean":
        return final.mean().square() + auxiliary * (error.sum() / mask.sum()).square()
    return (final.square() + auxiliary * error.square().sum(dim=1) / mask.sum(dim=1)).mean()


def decompose(predictions: Tensor, rewards: Tensor, start: Tensor, mask: Tensor) -> Tensor:
    """Shares r_i = g_i - g_{i-1} with g_0 = start; what they miss of the reward is spread evenly.

    Args:
        predictions: g, [n, B], in the units of the reward.
        rewards: R, [n].
        start: 0-dim; the running mean of R. From 0 the first instance would be handed the mean.
        mask: 1 for an instance, 0 for padding, [n, B].

    Returns:
        [n, B]; each row sums to its reward, padding is 0.
    """
    before = torch.cat([start.expand(rewards.shape[0], 1), predictions[:, :-1]], dim=1)
    added = (predictions - before) * mask
    missing = (rewards - added.sum(dim=1)) / mask.sum(dim=1)
    return added + missing[:, None] * mask


def even_shares(rewards: Tensor, mask: Tensor) -> Tensor:
    """R / B for each instance: [n, B] of rewards [n]."""
    return rewards[:, None] * mask / mask.sum(dim=1, keepdim=True)


def explained(predictions: Tensor, rewards: Tensor) -> Tensor:
    """Part of the rewards' variance over n batches that the predictions explain, 0-dim in [0, 1].

    A model that has only found the mean explains nothing; from a single batch nothing can be said, which counts as 0.

    Args:
        predictions: of the model after the whole batch, [n].
        rewards: [n].
    """
    variance = (rewards - rewards.mean()).square().mean()
    error = (rewards - predictions).square().mean()
    return torch.where(variance > 0, 1 - error / variance, 0.0).clamp(0, 1)


def without_place_effect(shares: Tensor, mask: Tensor) -> Tensor:
    """Spread evenly what a place in the sequence gets on average over the batches; rows keep their sums.

    The order within a batch is random, so a place deserves nothing. Yet a sequence model that starts from nothing
    settles over its first places, and whatever the recent mean is above the running mean falls to the first: this
    would outweigh everything that distinguishes instances.

    Args:
        shares: [n, B]; a single batch has no average to compare with and stays as it is.
        mask: 1 for an instance, 0 for padding, [n, B].
    """
    if shares.shape[0] == 1:
        return shares
    place = shares.sum(dim=0) / mask.sum(dim=0).clamp(min=1) * mask
    return shares - place + place.sum(dim=1, keepdim=True) / mask.sum(dim=1, keepdim=True) * mask


class Calibrator:
    """The models of calibration and how they are fitted.

    Args:
        options: kind, sizes, loss.
        features: F, length of a state.
        device: where the models live.
    """

    def __init__(self, options: CalibrationOptions, features: int, device: torch.device) -> None:
        self.options = options
        self.models = nn.ModuleDict()
        if options.kind == "lstm":
            self.models["sequence"] = LSTMModel(features + 1, options.hidden)
        elif options.kind == "linear":
            self.models["sequence"] = LinearModel(features + 1, options.hidden)
        if options.critical_mask:
            self.models["mask"] = CriticalStateMask(features, options.hidden)
        self.models.to(device)
        self.optimizer = adam(self.models.parameters(), options.lr) if self.models else None

    @property
    def decomposes(self) -> bool:
        """Whether PPO learns from shares of the reward rather than from the whole."""
        return self.options.reaches_ppo and self.options.kind != "none"

    def masked(self, states: Tensor) -> Tensor:
        """States times their critical-state factor; the states themselves without a mask. [..., F], no graph."""
        if "mask" not in self.models:
            return states
        with torch.no_grad():
            masked: Tensor = states * self.models["mask"](states)
            return masked

    @torch.enable_grad()
    def fit(self, states: Tensor, actions: Tensor, rewards: Tensor, mask: Tensor) -> Tensor | None:
        """Fit the models on n batches, each a sequence of its instances.

        The mask is learnt together with an LSTM, which then reads the masked states, so that what predicts the reward
        is kept. With any other kind only the sparsity penalty shapes it: in the authors' code the other term is a
        cross entropy over a single class, which is always zero.

        Args:
            states: [n, B, F].
            actions: temperatures scaled to [-1, 1], [n, B].
            rewards: standardised, [n].
            mask: [n, B].

        Returns:
            The loss, 0-dim, mean over the gradient steps; None where there is nothing to fit.
        """
        if self.optimizer is None:
            return None
        losses = []
        for _ in range(self.options.steps):
            loss = self._loss(states, actions, rewards, mask)
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            self.optimizer.step()
            losses.append(loss.detach())
        return torch.stack(losses).mean()

    def _loss(self, states: Tensor, actions: Tensor, rewards: Tensor, mask: Tensor) -> Tensor:
        options = self.options
        loss = rewards.new_zeros(())
        seen = states
        if "mask" in self.models:
            factor = self.models["mask"](states)
            loss = loss + options.sparsity * (factor.squeeze(-1) * mask).sum(dim=1).mean()
            if options.kind == "lstm":
                seen = states * factor
        if "sequence" in self.models:
            predictions = self._predict(seen, actions)
            loss = loss + prediction_loss(predictions, rewards, mask, options.auxiliary, options.loss)
        return loss

    def _predict(self, states: Tensor, actions: Tensor) -> Tensor:
        prediction: Tensor = self.models["sequence"](torch.cat([states, actions[..., None]], dim=-1))
        return prediction

    def shares(
        self, states: Tensor, actions: Tensor, rewards: Tensor, mask: Tensor, mean: Tensor, std: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Each instance's share of its batch's reward, [n, B]; a row sums to its reward. No graph.

        Beside it what there is to note: "calibration_trust", the part of the rewards' variance that the model explains,
        whether or not it decides how far the shares are trusted.

        Args:
            states: [n, B, F].
            actions: temperatures scaled to [-1, 1], [n, B].
            rewards: raw, [n].
            mask: [n, B].
            mean: running mean of the rewards, 0-dim.
            std: running standard deviation of the rewards, 0-dim; both undo the standardisation of `fit`.
        """
        if "sequence" not in self.models:
            return even_shares(rewards, mask), {}
        seen = self.masked(states) if self.options.kind == "lstm" else states
        with torch.no_grad():
            predictions = mean + std * self._predict(seen, actions)
        shares = decompose(predictions, rewards, mean, mask)
        trust = explained((predictions * last_of(mask)).sum(dim=1), rewards)
        if self.options.trust == "explained":
            shares = trust * without_place_effect(shares, mask) + (1 - trust) * even_shares(rewards, mask)
        rounding = rewards - shares.sum(dim=1)  # too small to be spread: it would round away
        return shares + rounding[:, None] * last_of(mask), {"calibration_trust": trust}

    def state_dict(self) -> dict[str, Any]:
        """Models and optimiser."""
        optimizer = {} if self.optimizer is None else self.optimizer.state_dict()
        return {"models": self.models.state_dict(), "optimizer": optimizer}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` gave."""
        self.models.load_state_dict(state["models"])
        if self.optimizer is not None:
            self.optimizer.load_state_dict(state["optimizer"])
