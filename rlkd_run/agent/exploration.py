"""Efficient exploration: early in training the agent learns on high-quality instances, made by mix-up.

arXiv 2407.00115, with the score, ranks and weights of the authors' code: an instance that the student is sure about
(low score) is replaced by a mixture of itself with one that the student is unsure about (high score).
"""

from __future__ import annotations

import torch
from torch import Tensor

from rlkd_run.any_order import any_order
from rlkd_run.config.agent import ExplorationOptions
from rlkd_run.protocol import MixPlan


class InstanceScores:
    """Score of every training image: (n / 40)^0.03 times the mean entropy of p_S over the n epochs that showed it.

    Args:
        num_images: N.
        per_instance: n is each image's own count; otherwise (authors' code) the largest count, one for all.
        device: where the sums live.
    """

    def __init__(self, num_images: int, per_instance: bool, device: torch.device) -> None:
        self.per_instance = per_instance
        self.entropy_sum = torch.zeros(num_images, device=device)
        self.count = torch.zeros(num_images, device=device)

    def update(self, index: Tensor, entropy: Tensor, mixed: Tensor | None) -> None:
        """Take in entropies [B] in nats of the images index [B]; mixtures (mixed [B] bool) say nothing about an image.

        A mixture carries the index of an image that may be in the batch itself: it adds an exact zero there. Where
        mixtures keep the label and index of the image that they replace (`labels=low`, as the authors' code has it),
        nothing marks them, and they count as that image.
        """
        seen = torch.ones_like(entropy) if mixed is None else (~mixed).float()
        with any_order():  # no image is met twice but by adding zero
            self.entropy_sum.index_add_(0, index, entropy * seen)
            self.count.index_add_(0, index, seen)

    def scores(self) -> Tensor:
        """[N]; -1, below every score, for images never seen."""
        n = self.count if self.per_instance else self.count.amax().expand_as(self.count)
        score = (n / 40).pow(0.03) * self.entropy_sum / n.clamp(min=1)
        return torch.where(self.count > 0, score, -1.0)

    def state_dict(self) -> dict[str, Tensor]:
        """Sums and counts, [N] each."""
        return {"entropy_sum": self.entropy_sum, "count": self.count}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restore what `state_dict` gave."""
        self.entropy_sum.copy_(state["entropy_sum"])
        self.count.copy_(state["count"])


def explores(when: str, epoch: int, epochs: int, first: int) -> bool:
    """Whether an agent-training epoch is an exploration epoch.

    Args:
        when: "early": up to half of the run; "code": all but the first; "none".
        epoch: from 1, an epoch in which the agent is trained.
        epochs: E.
        first: the first epoch in which the agent is trained.
    """
    return {"early": 2 * epoch <= epochs, "code": epoch > first, "none": False}[when]


def mix_plan(scores: Tensor, options: ExplorationOptions) -> MixPlan:
    """Pair each image of the low-score band with one of the high-score band, in order of rank.

    Args:
        scores: [N]; negative where unknown: such an image neither mixes nor is mixed.
        options: the bands, as fractions of the ranks from the top, and the weights over the pairs.

    Returns:
        A plan over all N images; images outside the low band stay as they are.
    """
    number = scores.shape[0]
    ranked = scores.argsort(descending=True, stable=True)

    def band(fractions: list[float]) -> Tensor:
        first, end = (round(fraction * number) for fraction in fractions)
        return ranked[first:end]

    high, low = band(options.high), band(options.low)
    pairs = min(len(high), len(low))
    high, low = high[:pairs], low[:pairs]
    start, stop = options.weights
    known = (scores[high] >= 0) & (scores[low] >= 0)
    share = torch.where(known, torch.linspace(start, stop, pairs, device=scores.device), 0.0)

    partner = torch.arange(number, device=scores.device)
    weight = torch.zeros(number, device=scores.device)
    partner[low] = torch.where(known, high, low)
    weight[low] = share
    return MixPlan(partner, weight, options.labels)
